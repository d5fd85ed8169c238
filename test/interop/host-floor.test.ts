/** A machine's own signature policy is honoured on its command line too, whatever the reference says. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { newKeyPair } from '../../testbed/signing-keys.ts';
import { treeline, TREELINE } from '../../testbed/treeline-command.ts';
import { runCommand } from '../../tools/setup/command.ts';
import { Bench, say, type Said } from './cli-bench.ts';

/** Runs a program where /etc holds what lies in a folder, too. Nothing of it is left when the program ends. */
const WITH_ETC = 'mount -t overlay overlay -o lowerdir="$1":/etc /etc && shift && exec "$@"';

describe('a machine with a signature policy of its own', function () {
  const release = newKeyPair();
  let bench: Bench;
  let machines = 0;

  before(async () => {
    bench = await Bench.start();
    const key = join(bench.folder, 'release.key');
    await writeFile(key, release.privateKey);
    await treeline(['sign', `--key=${key}`, `--plain-http=${bench.registry.host}`, bench.image('1')]);
  });
  after(async () => {
    await bench[Symbol.asyncDispose]();
  });

  /** A machine whose /etc/treeline/signature-policy.yaml says this. */
  async function machine(policy: unknown): Promise<(...argv: readonly string[]) => Promise<Said>> {
    const etc = join(bench.folder, `etc${++machines}`);
    await mkdir(join(etc, 'treeline'), { recursive: true });
    await writeFile(join(etc, 'treeline/signature-policy.yaml'), JSON.stringify(policy));
    const program = ['unshare', '--mount', '--', 'sh', '-c', WITH_ETC, 'sh', etc, TREELINE];
    return (...argv) => say([...argv, `--plain-http=${bench.registry.host}`], { program });
  }
  const demanding = () => machine({ authorities: [{ name: 'release', publicKeys: [release.publicKey] }] });

  async function repository(): Promise<string> {
    const path = join(bench.folder, `repo${++machines}`);
    await runCommand('ostree', [`--repo=${path}`, 'init', '--mode=bare']);
    return path;
  }
  const refsOf = async (path: string) => (await runCommand('ostree', [`--repo=${path}`, 'refs'])).trim();

  it('imports what is signed, and says by whom', async () => {
    const on = await demanding();
    const said = await on('image', 'pull', '--repo', await repository(), bench.image('1'));
    assert.equal(said.status, 0, said.stderr);
    assert.match(said.stderr, /Signed as \/etc\/treeline\/signature-policy\.yaml asks \(release\): sha256:/);
  });

  it('imports nothing of what is not signed, also when the reference asks for no signature', async () => {
    const on = await demanding();
    const path = await repository();
    const said = await on('image', 'pull', '--repo', path, `ostree-unverified-registry:${bench.image('2')}`);
    assert.equal(said.status, 1);
    assert.match(said.stderr, /has no signature/);
    assert.equal(await refsOf(path), '');
  });

  it('judges anew what is there already', async () => {
    const path = await repository();
    const pull = ['image', 'pull', '--repo', path, `${bench.registry.host}/os@${bench.digests[2]}`];
    const before = await say([...pull, `--plain-http=${bench.registry.host}`]);
    assert.equal(before.status, 0, before.stderr);
    const said = await (await demanding())(...pull);
    assert.equal(said.status, 1, said.stdout);
    assert.match(said.stderr, /has no signature/);
  });

  it('lets rebase and upgrade put nothing on a host that it does not take', async () => {
    const sysroot = await bench.sysroot();
    const on = await demanding();
    const host = ['--sysroot', sysroot];
    const refused = await on('rebase', ...host, '--os', 'small', bench.image('2'));
    assert.equal(refused.status, 1, refused.stdout);
    assert.match(refused.stderr, /has no signature/);
    const signed = await on('rebase', ...host, '--os', 'small', bench.image('1'));
    assert.equal(signed.status, 0, signed.stderr);
    const again = await on('upgrade', ...host);
    assert.equal(again.status, 0, again.stderr);
    const denying = await machine({ deniedDigests: [bench.digests[1]] });
    const denied = await denying('upgrade', ...host);
    assert.equal(denied.status, 1, denied.stdout);
    assert.match(denied.stderr, /is denied by the signature policy/);
  });

  it('takes no image from a place that has no signatures, unless it only denies', async () => {
    const layout = `oci:${join(bench.folder, 'layout')}:1`;
    const copied = await say([
      'encapsulate',
      `--repo=${bench.source}`,
      (await runCommand('ostree', [`--repo=${bench.source}`, 'refs'])).trim().split('\n').toSorted()[0] ?? '',
      layout,
    ]);
    assert.equal(copied.status, 0, copied.stderr);
    const refused = await (await demanding())('image', 'pull', '--repo', await repository(), layout);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /is not in a registry, where signatures are, and \/etc\/treeline/);
    const denying = await machine({ deniedDigests: [`sha256:${'1'.repeat(64)}`] });
    const taken = await denying('image', 'pull', '--repo', await repository(), layout);
    assert.equal(taken.status, 0, taken.stderr);
  });

  it('takes nothing at all when its policy is malformed', async () => {
    const on = await machine({ authorities: 7 });
    const said = await on('image', 'pull', '--repo', await repository(), bench.image('1'));
    assert.equal(said.status, 1);
    assert.match(said.stderr, /signature-policy\.yaml is malformed .*until it is corrected no image passes/);
  });

  it('counts the signature of an index for the images that it lists', async () => {
    const repositoryName = `${bench.registry.host}/os`;
    const manifest = await fetch(`http://${repositoryName.replace('/', '/v2/')}/manifests/2`, {
      headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
    });
    const size = (await manifest.arrayBuffer()).byteLength;
    const architecture = { x64: 'amd64', arm64: 'arm64' }[process.arch as 'x64' | 'arm64'];
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    const entry = { mediaType, digest: bench.digests[2], size, platform: { os: 'linux', architecture } };
    const body = JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [entry],
    });
    const put = await fetch(`http://${repositoryName.replace('/', '/v2/')}/manifests/index`, {
      method: 'PUT',
      headers: { 'content-type': 'application/vnd.oci.image.index.v1+json' },
      body,
    });
    assert.equal(put.status, 201);
    const digest = put.headers.get('docker-content-digest') ?? '';
    const on = await demanding();
    const unsigned = await on('image', 'pull', '--repo', await repository(), `${repositoryName}:index`);
    assert.equal(unsigned.status, 1, unsigned.stdout);
    const key = join(bench.folder, 'release.key');
    await treeline(['sign', `--key=${key}`, `--plain-http=${bench.registry.host}`, `${repositoryName}@${digest}`]);
    const said = await on('image', 'pull', '--repo', await repository(), `${repositoryName}:index`);
    assert.equal(said.status, 0, said.stderr);
  });
});
