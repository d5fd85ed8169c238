/** The image in which OSImageBuilds are made, as its Dockerfile makes it, does what its Job asks of it. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { OSImageBuild } from '../../api/index.ts';
import { jobOf } from '../../operator/builds/build-job.ts';
import { resultOf } from '../../operator/builds/build-result.ts';
import { type BuildJobManifest, runBuildContainer } from '../../testbed/build-container.ts';
import { buildBuilderImage, containerImage } from '../../testbed/nodes/container-image.ts';
import { startRegistry } from '../../testbed/registry.ts';
import { treeline } from '../../testbed/treeline-command.ts';
import { runCommand } from '../../tools/setup/command.ts';
import { pullWithPeer } from './import-fixture.ts';
import { ostree, scratchDirectory } from './ostree-fixture.ts';
import { INSTALLED, writeRootfs } from './rootfs-fixture.ts';

/** An installed system whose shell runs. */
async function writeRootfsWithShell(root: string): Promise<void> {
  const links = { lib: { target: 'usr/lib' }, lib64: { target: 'usr/lib64' } };
  writeRootfs(root, { ...INSTALLED, ...links, 'usr/lib64': { directory: true } });
  copyFileSync('/bin/sh', join(root, 'usr/bin/sh'));
  for (const [library] of (await runCommand('ldd', ['/bin/sh'])).matchAll(/\/\S+/g)) {
    mkdirSync(join(root, dirname(library)), { recursive: true });
    copyFileSync(library, join(root, library));
  }
}

describe('the builder image', function () {
  this.timeout(600_000);

  it('builds, composes and pushes what an OSImageBuild describes, in a user namespace, named by its digest', async () => {
    using scratch = scratchDirectory();
    await using registry = await startRegistry({ storage: join(scratch.path, 'registry') });
    const rootfs = join(scratch.path, 'rootfs');
    await writeRootfsWithShell(rootfs);
    const base = `${registry.host}/os/base:12`;
    const destination = `${registry.host}/os/workers:stable`;
    await treeline(['compose', `--rootfs=${rootfs}`, `--plain-http=${registry.host}`, '--version=12', base]);

    const builder = await buildBuilderImage(() => undefined);
    const { buildah } = await containerImage();
    const [program = '', ...store] = buildah;
    const format = '--format={{.FromImageDigest}}';
    const digest = (await runCommand(program, [...store, 'inspect', '--type=image', format, builder])).trim();
    const build: OSImageBuild = {
      metadata: { name: 'workers', uid: 'u', resourceVersion: '1', generation: 1 },
      spec: {
        base,
        containerfile:
          'FROM base\nCOPY worker.conf /etc/worker.conf\nRUN read -r map </proc/self/uid_map && echo "$map" >/etc/built\n',
        context: { configMapName: 'files' },
        destination,
        version: '1',
        suspend: false,
        timeoutSeconds: 3600,
        historyLimit: 3,
      },
    };
    const record = { job: 'workers-1', inputs: 'i', startTime: '2026-11-30T12:00:00Z' };
    const builderImage = `${builder.replace(/:[^/]*$/, '')}@${digest}`;
    const job = jobOf(build, record, undefined, { builderImage, plainHttpHosts: [registry.host] });
    const folder = join(scratch.path, 'pod');
    mkdirSync(folder);
    const end = await runBuildContainer(job as BuildJobManifest, {
      buildah,
      folder,
      configMaps: { files: { 'worker.conf': 'worker=1\n' } },
    });
    assert.ok(end.succeeded, `${end.message}\n${end.log}`);
    const result = resultOf({ succeeded: true, reason: 'Complete', message: '' }, end.message);
    const inspect = ['inspect', '--tls-verify=false', '--format={{.Digest}}', `docker://${destination}`];
    assert.deepEqual(result, { kind: 'Succeeded', digest: (await runCommand('skopeo', inspect)).trim() });

    const layout = join(scratch.path, 'image');
    await runCommand('skopeo', [
      'copy',
      '--quiet',
      '--src-tls-verify=false',
      `docker://${destination}`,
      `oci:${layout}:base`,
    ]);
    const repository = join(scratch.path, 'repo');
    const commit = await pullWithPeer(repository, layout);
    assert.equal(ostree(repository, 'cat', commit, '/usr/etc/worker.conf'), 'worker=1\n');
    // What RUN saw of its user namespace: root in it is somebody else outside.
    assert.match(ostree(repository, 'cat', commit, '/usr/etc/built'), /^0 +[1-9]\d* +\d+$/m);
  });
});
