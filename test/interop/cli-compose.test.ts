import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes, verify } from 'node:crypto';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startRegistry, type TestRegistry } from '../../testbed/registry.ts';
import { BUILDERS } from '../../cli/compose/container-builder.ts';
import { TREELINE } from '../../testbed/treeline-command.ts';
import { ensurePeer, sayOnStandardError } from '../../tools/setup/index.ts';
import { runCommand } from '../../tools/setup/command.ts';
import { treeline } from '../unit/cli/run.ts';
import { say } from './cli-bench.ts';
import { ostree } from './ostree-fixture.ts';
import { declared, dpkgEntry, INSTALLED, writeRootfs } from './rootfs-fixture.ts';

interface Composed {
  readonly manifestDigest: string;
  readonly commit: string;
  readonly contentChecksum: string;
  readonly comparison?: {
    readonly added: { readonly layers: number; readonly bytes: number };
    readonly addedLayers: readonly { readonly createdBy?: string }[];
  };
}

const EPOCH = { SOURCE_DATE_EPOCH: '1767225600' };

describe('treeline compose', () => {
  let folder: string;
  let rootfs: string;
  let scratch: string;
  let registry: TestRegistry;
  let builds: NodeJS.ProcessEnv;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-compose-'));
    rootfs = join(folder, 'rootfs');
    scratch = join(folder, 'scratch');
    writeRootfs(rootfs, INSTALLED);
    const storage = join(folder, 'storage.conf');
    await writeFile(
      storage,
      `[storage]\ndriver = "vfs"\ngraphroot = "${folder}/storage"\nrunroot = "${folder}/storage-run"\n`,
    );
    // As a container without rights of its own has to: no mounts, no overlay. And away from the machine's own images.
    builds = { ...EPOCH, BUILDAH_ISOLATION: 'chroot', CONTAINERS_STORAGE_CONF: storage };
    registry = await startRegistry({ storage: join(folder, 'registry') });
  });
  after(async () => {
    await registry.stop();
    await rm(folder, { recursive: true, force: true });
  });

  async function compose(parameters: readonly string[], environment: NodeJS.ProcessEnv = EPOCH): Promise<Composed> {
    const said = await say(
      ['compose', '--output=json', `--plain-http=${registry.host}`, `--scratch-dir=${scratch}`, ...parameters],
      { environment },
    );
    assert.equal(said.status, 0, said.stderr);
    return JSON.parse(said.stdout) as Composed;
  }

  const image = (tag: string): string => `${registry.host}/os/small:${tag}`;

  /** The commit that the reference importer makes of an image, and its content. */
  async function peerImports(tag: string): Promise<string> {
    const peer = await ensurePeer(sayOnStandardError);
    const layout = join(folder, `layout-${tag}`);
    await runCommand('skopeo', ['copy', '--src-tls-verify=false', `docker://${image(tag)}`, `oci:${layout}:v1`]);
    const repo = join(folder, `peer-${tag}`);
    ostree(repo, 'init', '--mode=bare-user');
    await runCommand(peer, ['container', 'image', 'pull', repo, `ostree-unverified-image:oci:${layout}:v1`]);
    ostree(repo, 'fsck');
    return repo;
  }

  it('puts an installed tree into a registry as an image that the reference importer and skopeo read', async () => {
    const composed = await compose([
      `--rootfs=${rootfs}`,
      '--version=1',
      '--label=org.example.team=platform',
      image('1'),
    ]);
    const inspected = JSON.parse(
      await runCommand('skopeo', ['inspect', '--tls-verify=false', `docker://${image('1')}`]),
    ) as { Digest: string; Labels: Record<string, string>; Created: string };
    assert.equal(inspected.Digest, composed.manifestDigest);
    assert.equal(inspected.Created, '2026-01-01T00:00:00Z');
    assert.deepEqual(
      [
        'ostree.bootable',
        'containers.bootc',
        'ostree.linux',
        'org.opencontainers.image.version',
        'org.example.team',
      ].map((key) => inspected.Labels[key]),
      ['true', '1', '6.1.0-test', '1', 'platform'],
    );
    const repo = await peerImports('1');
    assert.match(ostree(repo, 'show', composed.commit), new RegExp(`ContentChecksum: +${composed.contentChecksum}`));
  });

  it('gives the same digest when it is run again, and in a dry run, which writes nothing', async () => {
    const parameters = [`--rootfs=${rootfs}`, '--version=2'];
    const dry = await compose([...parameters, '--dry-run']);
    await assert.rejects(runCommand('skopeo', ['inspect', '--tls-verify=false', `docker://${image('2')}`]));
    const first = await compose([...parameters, image('2')]);
    assert.equal(first.manifestDigest, dry.manifestDigest);
    assert.equal((await compose([...parameters, image('2')])).manifestDigest, dry.manifestDigest);
    const unchanged = await compose([...parameters, '--dry-run', `--previous=${image('2')}`]);
    assert.deepEqual(unchanged.comparison?.added, { layers: 0, bytes: 0 });
    assert.deepEqual(await readdir(scratch), []);
  });

  for (const builder of BUILDERS) {
    it(`builds upon a base with ${builder}, keeps its labels, and puts the result into the layout of a system`, async () => {
      const [base, built] = [`${builder}-3`, `${builder}-4`];
      await compose([`--rootfs=${rootfs}`, '--version=3', '--label=org.example.team=platform', image(base)]);
      const context = join(folder, builder);
      await mkdir(context);
      await writeFile(join(context, 'worker.conf'), 'worker=1\n');
      const file = join(folder, `${builder}.yaml`);
      await writeFile(
        file,
        [
          `base: ${image(base)}`,
          'layers:',
          '  - COPY worker.conf /etc/worker.conf',
          '  - COPY worker.conf /var/lib/worker/state',
          '  - LABEL org.example.role=worker',
          `context: ${builder}`,
          'version: "4"',
          `destination: ${image(built)}`,
        ].join('\n'),
      );
      const request = [`--builder=${builder}`, `--file=${file}`];
      const composed = await compose(request, builds);
      assert.deepEqual(await compose(request, builds), composed);
      const { Labels: labels } = JSON.parse(
        await runCommand('skopeo', ['inspect', '--tls-verify=false', `docker://${image(built)}`]),
      ) as { Labels: Record<string, string> };
      assert.deepEqual(
        ['org.example.team', 'org.example.role', 'org.opencontainers.image.version', 'ostree.linux'].map(
          (key) => labels[key],
        ),
        ['platform', 'worker', '4', '6.1.0-test'],
      );
      const repo = await peerImports(built);
      assert.equal(ostree(repo, 'cat', composed.commit, '/usr/etc/worker.conf'), 'worker=1\n');
      assert.equal(ostree(repo, 'cat', composed.commit, '/usr/share/factory/var/lib/worker/state'), 'worker=1\n');
      assert.match(declared(repo, composed.commit), /C \/var\/lib\/worker\/state/);
      assert.deepEqual(await readdir(scratch), []);
    });
  }

  it('tells which layers a node on an earlier image fetches: the commit, and those of the package that changed', async () => {
    const packages = join(folder, 'packages');
    const names = ['alpha', 'beta', 'gamma'];
    writeRootfs(packages, {
      ...INSTALLED,
      'var/lib/dpkg/status': { content: names.map(dpkgEntry).join('\n') },
      ...Object.fromEntries(
        names.flatMap((name) => [
          [`usr/share/${name}/data`, { content: randomBytes(20_000) }],
          [`var/lib/dpkg/info/${name}.list`, { content: `/usr/share/${name}\n/usr/share/${name}/data\n` }],
        ]),
      ),
    });
    await compose([`--rootfs=${packages}`, image('packages')]);
    await writeFile(join(packages, 'usr/share/beta/data'), randomBytes(20_000));
    const manifest = join(folder, 'packages-manifest.json');
    const inspected = ['inspect', '--raw', '--tls-verify=false', `docker://${image('packages')}`];
    await writeFile(manifest, await runCommand('skopeo', inspected));
    const file = join(folder, 'packages.yaml');
    await writeFile(file, 'rootfs: packages\nprevious: packages-manifest.json\n');
    const digests = new Set<string>();
    for (const parameters of [
      [`--rootfs=${packages}`, `--previous=${image('packages')}`],
      [`--rootfs=${packages}`, `--previous=${manifest}`],
      [`--file=${file}`],
    ]) {
      const next = await compose([...parameters, '--dry-run']);
      assert.deepEqual(
        next.comparison?.addedLayers.map(({ createdBy }) => createdBy?.includes('beta')),
        [false, true],
      );
      assert.ok((next.comparison?.added.bytes ?? 0) < 40_000);
      digests.add(next.manifestDigest);
    }
    assert.equal(digests.size, 1, 'the manifest says as much as the image');
    const single = await compose([
      `--rootfs=${packages}`,
      '--dry-run',
      '--chunking=none',
      `--previous=${image('packages')}`,
    ]);
    assert.ok((single.comparison?.added.bytes ?? 0) > 60_000);
  });

  it('signs the image before the tag moves, so that a tag never names an unsigned one', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const [secret, shared] = [join(folder, 'key.pem'), join(folder, 'key.pub')];
    await writeFile(secret, privateKey.export({ type: 'pkcs8', format: 'pem' }));
    await writeFile(shared, publicKey.export({ type: 'spki', format: 'pem' }));
    await compose([`--rootfs=${rootfs}`, `--sign-key=${secret}`, image('signed')]);
    const verified = await say(['verify', `--plain-http=${registry.host}`, '--key', shared, image('signed')]);
    assert.equal(verified.status, 0, verified.stderr);
    // What lies where the signatures go is no image: the next one cannot be signed.
    const next = await compose([`--rootfs=${rootfs}`, '--version=next', '--dry-run']);
    const place = `${registry.url}/v2/os/small/manifests/${next.manifestDigest.replace(':', '-')}.sig`;
    const put = await fetch(place, {
      method: 'PUT',
      headers: { 'content-type': 'application/vnd.oci.image.index.v1+json' },
      body: '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}',
    });
    assert.equal(put.status, 201);
    const { Digest: before } = await inspect('signed');
    const failed = await say(
      [
        'compose',
        `--plain-http=${registry.host}`,
        `--scratch-dir=${scratch}`,
        `--rootfs=${rootfs}`,
        '--version=next',
        `--sign-key=${secret}`,
        image('signed'),
      ],
      { environment: EPOCH },
    );
    assert.equal(failed.status, 1);
    assert.equal((await inspect('signed')).Digest, before);
  });

  it('puts signed provenance, once, and the log of each build beside the image, on a registry that knows nothing of referrers', async () => {
    // Its signatures are the same each time; those of ECDSA are not, and would lie there twice.
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const [secret, shared, containerfile] = ['attest.pem', 'attest.pub', 'Containerfile.attest'].map((name) =>
      join(folder, name),
    );
    await writeFile(secret ?? '', privateKey.export({ type: 'pkcs8', format: 'pem' }));
    await writeFile(shared ?? '', publicKey.export({ type: 'spki', format: 'pem' }));
    await writeFile(containerfile ?? '', 'FROM base\nLABEL org.example.role=attested\n');
    const base = await compose([`--rootfs=${rootfs}`, '--version=base', image('attest-base')]);
    const build = [`--base=${image('attest-base')}`, `--containerfile=${containerfile}`, `--context=${folder}/scratch`];
    const parameters = [...build, '--attest', `--sign-key=${secret}`, image('attested')];
    const composed = await compose(parameters, builds);
    assert.equal((await compose(parameters, builds)).manifestDigest, composed.manifestDigest);

    const get = async (path: string, accept = '*/*'): Promise<Buffer> => {
      const answer = await fetch(`${registry.url}/v2/os/small/${path}`, { headers: { accept } });
      assert.equal(answer.status, 200, path);
      return Buffer.from(await answer.arrayBuffer());
    };
    const json = async <T>(path: string, accept?: string): Promise<T> =>
      JSON.parse(String(await get(path, accept))) as T;
    const index = await json<{ manifests: { digest: string; artifactType: string }[] }>(
      `manifests/${composed.manifestDigest.replace(':', '-')}`,
      'application/vnd.oci.image.index.v1+json',
    );
    const blobOf = async (type: string): Promise<Buffer> => {
      const [only] = index.manifests.filter(({ artifactType }) => artifactType === type);
      const manifest = await json<{ layers: { digest: string }[]; subject: { digest: string } }>(
        `manifests/${only?.digest}`,
        'application/vnd.oci.image.manifest.v1+json',
      );
      assert.equal(manifest.subject.digest, composed.manifestDigest);
      return await get(`blobs/${manifest.layers[0]?.digest}`);
    };
    const kinds = index.manifests.map(({ artifactType }) => artifactType);
    assert.equal(kinds.filter((kind) => kind === 'application/vnd.in-toto+json').length, 1);
    const envelope = JSON.parse(String(await blobOf('application/vnd.in-toto+json'))) as {
      payloadType: string;
      payload: string;
      signatures: { sig: string }[];
    };
    const payload = Buffer.from(envelope.payload, 'base64');
    const signed = Buffer.concat([
      Buffer.from(`DSSEv1 ${envelope.payloadType.length} ${envelope.payloadType} ${payload.length} `),
      payload,
    ]);
    assert.ok(verify(null, signed, publicKey, Buffer.from(envelope.signatures[0]?.sig ?? '', 'base64')));
    const statement = JSON.parse(String(payload)) as {
      subject: { digest: { sha256: string } }[];
      predicate: {
        buildDefinition: {
          externalParameters: { containerfile: string };
          resolvedDependencies: { digest: { sha256: string } }[];
        };
      };
    };
    assert.equal(`sha256:${statement.subject[0]?.digest.sha256}`, composed.manifestDigest);
    const { externalParameters, resolvedDependencies } = statement.predicate.buildDefinition;
    assert.equal(`sha256:${resolvedDependencies[0]?.digest.sha256}`, base.manifestDigest);
    assert.match(externalParameters.containerfile, /attested/);
    assert.match(
      String(await blobOf('application/vnd.treeline.build-log.v1+text')),
      /LABEL org\.example\.role=attested/,
    );
    const verified = await say(['verify', `--plain-http=${registry.host}`, '--key', shared ?? '', image('attested')]);
    assert.equal(verified.status, 0, verified.stderr);
  });

  it('says what to install where there is no builder, and what a builder said that failed', async () => {
    const missing = await treeline(
      [
        'compose',
        '--output=json',
        `--base=${image('1')}`,
        '--containerfile=Containerfile',
        `--scratch-dir=${scratch}`,
        image('5'),
      ],
      { PATH: join(folder, 'nowhere') },
    );
    assert.equal(missing.status, 1);
    assert.match(missing.stderr, /"code":"BuilderMissing".*apt install buildah/);
    const containerfile = join(folder, 'Containerfile.broken');
    await writeFile(containerfile, 'FROM scratch\nCOPY not-there /\n');
    const failed = await say(
      [
        'compose',
        '--output=json',
        `--containerfile=${containerfile}`,
        `--context=${folder}`,
        `--scratch-dir=${scratch}`,
        image('5'),
      ],
      { environment: builds },
    );
    assert.equal(failed.status, 1);
    assert.match(failed.stderr, /"code":"BuildFailed".*not-there/);
    assert.deepEqual(await readdir(scratch), []);
  });

  it('killed, leaves the tag where it was, and the next run removes what it left', async () => {
    await compose([`--rootfs=${rootfs}`, '--version=6', image('6')]);
    const { Digest: before } = await inspect('6');
    const large = join(folder, 'large');
    writeRootfs(large, { ...INSTALLED, 'usr/share/large': { content: Buffer.alloc(64 * 2 ** 20, 'treeline') } });
    const child = spawn(
      TREELINE,
      ['compose', `--plain-http=${registry.host}`, `--scratch-dir=${scratch}`, `--rootfs=${large}`, image('6')],
      { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...EPOCH } },
    );
    // Its first words about the write are its last words.
    child.stderr.on('data', (text: Buffer) => {
      if (text.includes('Writing')) child.kill('SIGKILL');
    });
    await once(child, 'close');
    assert.equal(child.signalCode, 'SIGKILL');
    assert.equal((await readdir(scratch)).length, 1);
    assert.equal((await inspect('6')).Digest, before);
    await compose([`--rootfs=${rootfs}`, '--version=6', image('6')]);
    assert.deepEqual(await readdir(scratch), []);
  });

  async function inspect(tag: string): Promise<{ readonly Digest: string }> {
    return JSON.parse(await runCommand('skopeo', ['inspect', '--tls-verify=false', `docker://${image(tag)}`])) as {
      Digest: string;
    };
  }
});
