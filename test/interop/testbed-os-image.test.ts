import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { publishOS } from '../../testbed/os-publication.ts';
import type { PublishedOS } from '../../testbed/os-publication.ts';
import type { OSRepository } from '../../testbed/os-repository.ts';
import { startRegistry } from '../../testbed/registry.ts';
import type { TestRegistry } from '../../testbed/registry.ts';
import { makeSmallOSImage } from '../../testbed/small-os-image.ts';
import { makeSysroot, removeWithSysroots } from '../../testbed/sysroot.ts';
import { treeline } from '../../testbed/treeline-command.ts';
import { runCommand } from '../../tools/setup/command.ts';

describe("The testbed's operating system", () => {
  let folder: string;
  let os: OSRepository;
  let registry: TestRegistry;
  let published: PublishedOS;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-os-'));
    os = await makeSmallOSImage(folder);
    registry = await startRegistry({ storage: join(folder, 'registry') });
    published = await publishOS(os, { registry });
  });

  after(async () => {
    await registry?.stop();
    await removeWithSysroots(folder);
  });

  const list = (repository: string, commit: string, path: string) =>
    runCommand('ostree', ['ls', `--repo=${repository}`, '-R', commit, path]);

  it('has a kernel that differs between versions 1 and 2, where ostree looks for it', async () => {
    const changes = await runCommand('ostree', ['diff', `--repo=${os.path}`, os.branches[1], os.branches[2]]);
    assert.match(changes, /^D +\/usr\/lib\/modules\/6\.1\.1-small$/m);
    assert.match(changes, /^A +\/usr\/lib\/modules\/6\.1\.2-small\/vmlinuz$/m);
    assert.match(changes, /^M +\/usr\/etc\/motd$/m);
  });

  it('keeps the system below /usr and the machine below /var, as deployments need it', async () => {
    const root = await runCommand('ostree', ['ls', `--repo=${os.path}`, os.branches[1], '/']);
    for (const link of ['/home -> var/home', '/root -> var/roothome', '/ostree -> sysroot/ostree']) {
      assert.ok(root.includes(link), `${link} is missing from:\n${root}`);
    }
    assert.match(root, /^d01777 0 0 +0 \/tmp$/m);
    assert.doesNotMatch(root, / \/etc$/m);
    assert.equal((await list(os.path, os.branches[1], '/var')).trim().split('\n').length, 1);
  });

  it('gives the same images whenever it is published', async () => {
    assert.deepEqual(await publishOS(os, { registry }), published);
  });

  it('has a version 3 that is version 2 with one more layer: a file more, a changed file, a file less', async () => {
    const { path, runDirectory } = await makeSysroot({
      folder: join(folder, 'third'),
      stateroot: 'small',
      image: published.versions[3].reference,
      plainHttpHost: registry.host,
    });
    const repository = join(path, 'ostree', 'repo');
    const images = JSON.parse(await treeline(['image', 'list', '--output', 'json', '--repo', repository])) as unknown;
    assert.match(JSON.stringify(images), new RegExp(published.versions[3].digest));
    const [deployment = ''] = await readdir(join(path, 'ostree', 'deploy', 'small', 'deploy'));
    const commit = deployment.replace(/\.0.*$/, '');
    assert.match(await list(repository, commit, '/usr/share/treeline'), /added-by-version-3/);
    assert.doesNotMatch(await list(repository, commit, '/usr/share'), /legacy\/readme/);
    assert.match(await runCommand('ostree', ['cat', `--repo=${repository}`, commit, '/usr/etc/motd']), /^Version 3:/);
    assert.deepEqual(await readdir(runDirectory), ['boot-id']);
  });

  it('is deployed to a sysroot that ostree admin knows and that is removed without a trace', async () => {
    const node = join(folder, 'node');
    const sysroot = await makeSysroot({
      folder: node,
      stateroot: 'small',
      image: published.versions[1].reference,
      plainHttpHost: registry.host,
    });
    const status = await runCommand('ostree', ['admin', 'status', `--sysroot=${sysroot.path}`]);
    assert.match(status, /^ +small [0-9a-f]{64}\.0$/m);
    await runCommand('ostree', ['fsck', '-q', `--repo=${join(sysroot.path, 'ostree', 'repo')}`]);
    await removeWithSysroots(node);
    await assert.rejects(readdir(node), { code: 'ENOENT' });
    await rm(node, { recursive: true, force: true });
  });
});
