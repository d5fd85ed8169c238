/**
 * Hosts that bootc or rpm-ostree owns. Neither tool runs here: `OwnedHost` stands in for both, as far as their manual
 * pages say what a call does to the deployments.
 */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BootcDeployer } from '../../../node-agent/host/bootc-deployer.ts';
import type { Deployer } from '../../../node-agent/host/deployer.ts';
import { OstreeAdminHost } from '../../../node-agent/host/ostree-admin.ts';
import { RpmOstreeDeployer } from '../../../node-agent/host/rpm-ostree-deployer.ts';
import { checksumOf, digestOf } from './fake-host.ts';

const [A, B, C] = [digestOf('a'), digestOf('b'), digestOf('c')];
const REPOSITORY = 'registry.example/os';
const BOOTC_HELP = 'Usage: bootc switch [OPTIONS] <TARGET>\n  --quiet\n  --transport <TRANSPORT>\n';

type Tool = 'bootc' | 'rpm-ostree';

/** What is deployed on a host with libostree 2024.7, and what the tools do to it. */
class OwnedHost {
  readonly calls: string[] = [];
  bootcHelp = BOOTC_HELP;
  /** Layered packages: what is deployed is then a commit made from the image's. */
  layers = false;
  staged: { commit: string; locked: boolean } | undefined;
  deployed = [checksumOf(A), checksumOf(C)];
  kernelArguments: string[] = ['quiet'];
  failNext: string | undefined;

  commitOf(reference: string): string {
    const [, hex = ''] = /@sha256:([0-9a-f]{64})$/.exec(reference) ?? [];
    assert.notEqual(hex, '', `${reference} names a digest`);
    return this.layers ? layered(hex) : hex;
  }

  run = async (argv: readonly string[]): Promise<string> => {
    const line = argv.join(' ');
    if (line === 'ostree --version') return "libostree:\n Version: '2024.7'\n";
    if (line === 'ostree admin status') return this.#status();
    if (line === 'bootc switch --help') return this.bootcHelp;
    this.calls.push(line);
    if (this.failNext !== undefined && line.startsWith(this.failNext)) {
      this.failNext = undefined;
      throw new Error('killed');
    }
    const last = argv.at(-1) ?? '';
    if (line.startsWith('bootc switch'))
      this.staged = { commit: this.commitOf(last), locked: line.includes('--download-only') };
    if (line.startsWith('rpm-ostree kargs')) {
      this.kernelArguments = [
        ...this.kernelArguments.filter((one) => !argv.includes(`--delete-if-present=${one}`)),
        ...argv
          .flatMap((one) => /^--append-if-missing=(.*)$/.exec(one)?.[1] ?? [])
          .filter((one) => !this.kernelArguments.includes(one)),
      ];
      this.staged = {
        commit: this.staged?.commit ?? this.deployed[0] ?? '',
        locked: argv.includes('--lock-finalization'),
      };
    }
    if (line.startsWith('rpm-ostree rebase')) {
      const commit = this.commitOf(last);
      if (this.staged?.commit === commit) throw new Error('error: Old and new refs are equal');
      this.staged = { commit, locked: argv.includes('--lock-finalization') };
    }
    if (line === 'rpm-ostree cleanup --pending' || line === 'ostree admin undeploy 0') this.staged = undefined;
    if (line === 'rpm-ostree rollback' || line === 'bootc rollback') this.deployed.reverse();
    if (line.startsWith('ostree admin lock-finalization') && this.staged)
      this.staged = { ...this.staged, locked: !line.endsWith('--unlock') };
    return '';
  };

  #status(): string {
    const staged = this.staged;
    const note = staged?.locked === true ? 'finalization locked' : 'staged';
    return [
      ...(staged === undefined ? [] : [`  os ${staged.commit}.0 (${note})`]),
      ...this.deployed.map((commit, at) => `${at === 0 ? '*' : ' '} os ${commit}.0`),
    ].join('\n');
  }
}

/** What rpm-ostree makes of an image's commit when it layers packages on it. */
const layered = (checksum: string) => `${checksum.slice(32)}${checksum.slice(1, 32)}9`;

describe('a host that', () => {
  let root = '';
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'treeline-owned-'));
    for (const path of ['proc/sys/kernel/random', 'ostree/repo/objects'])
      await mkdir(join(root, path), { recursive: true });
    await writeFile(join(root, 'proc/sys/kernel/random/boot_id'), 'boot-1\n');
  });
  afterEach(() => rm(root, { recursive: true }));

  function owned(tool: Tool) {
    const it = new OwnedHost();
    const known = [A, B, C].map(checksumOf);
    const imageCommitOf = (commit: string) => known.find((one) => layered(one) === commit) ?? commit;
    const deployer = (run: OwnedHost['run'], ostree: ConstructorParameters<typeof BootcDeployer>[1]): Deployer =>
      tool === 'bootc' ? new BootcDeployer(run, ostree) : new RpmOstreeDeployer(run, imageCommitOf);
    const readImageFacts = async (commit: string) => ({ digest: `sha256:${imageCommitOf(commit)}` });
    return { it, host: new OstreeAdminHost({ sysroot: root, run: it.run, readImageFacts, deployer }) };
  }

  const request = (digest: string) => ({
    checksum: checksumOf(digest),
    origin: `ostree-unverified-registry:${REPOSITORY}@${digest}`,
  });

  for (const tool of ['bootc', 'rpm-ostree'] as const) {
    describe(`${tool} owns`, () => {
      it('stages by that tool, and is locked then', async () => {
        const { it: machine, host } = owned(tool);
        await host.stage(request(B));
        const { booted, staged } = await host.status();
        assert.deepEqual([booted?.digest, staged?.digest, staged?.locked], [A, B, true]);
        assert.equal(machine.calls[0]?.split(' ')[0], tool);
        await host.stage(request(B));
        assert.equal(machine.calls.filter((call) => /switch|rebase/.test(call)).length, 1);
      });

      it('is unlocked, discards and goes back as others do', async () => {
        const { it: machine, host } = owned(tool);
        await host.stage(request(B));
        await assert.rejects(host.unlock(C), { code: 'OtherDigestStaged' });
        await host.unlock(B);
        assert.equal((await host.status()).staged?.locked, false);
        await host.discard();
        assert.equal((await host.status()).staged, undefined);
        await host.rollback();
        assert.equal(machine.calls.at(-1), `${tool} rollback`);
      });
    });
  }

  it('bootc owns is never unlocked where bootc can stage locked', async () => {
    const { it: machine, host } = owned('bootc');
    machine.bootcHelp = `${BOOTC_HELP}  --download-only\n`;
    await host.stage(request(B));
    assert.deepEqual(machine.calls, [`bootc switch --quiet --transport=registry --download-only ${REPOSITORY}@${B}`]);
  });

  it('bootc owns is told to hold images against its policy when the order says so', async () => {
    const { it: machine, host } = owned('bootc');
    await host.stage({ ...request(B), origin: `ostree-image-signed:docker://${REPOSITORY}@${B}` });
    assert.match(machine.calls[0] ?? '', / --enforce-container-sigpolicy registry\.example/);
  });

  it('bootc owns refuses what bootc cannot do, before anything is staged', async () => {
    const { it: machine, host } = owned('bootc');
    await assert.rejects(host.stage({ ...request(B), kernelArguments: { append: ['debug'] } }), {
      code: 'HostUnsupported',
      message: /kargs\.d of the image/,
    });
    const remote = `ostree-remote-image:fedora:docker://${REPOSITORY}@${B}`;
    await assert.rejects(host.stage({ ...request(B), origin: remote }), { code: 'HostUnsupported' });
    assert.deepEqual(machine.calls, []);
  });

  it('rpm-ostree owns keeps layered packages, and is still known to run the image', async () => {
    const { it: machine, host } = owned('rpm-ostree');
    machine.layers = true;
    await host.stage(request(B));
    assert.equal(machine.staged?.commit, layered(checksumOf(B)));
    assert.equal((await host.status()).staged?.digest, B);
    await host.stage(request(B));
    assert.equal(machine.calls.filter((call) => call.startsWith('rpm-ostree rebase')).length, 1);
  });

  it('rpm-ostree owns has the ordered kernel arguments, also after a crash between its two commands', async () => {
    const { it: machine, host } = owned('rpm-ostree');
    const order = { ...request(B), kernelArguments: { append: ['debug'], delete: ['quiet'] } };
    machine.failNext = 'rpm-ostree rebase';
    await assert.rejects(host.stage(order));
    assert.deepEqual([machine.staged?.commit, machine.staged?.locked], [checksumOf(A), true]);
    await host.stage(order);
    assert.deepEqual([machine.staged?.commit, machine.kernelArguments], [checksumOf(B), ['debug']]);
  });

  it('keeps its system in the composefs backend of bootc is refused by name', async () => {
    const { host } = owned('bootc');
    await rm(join(root, 'ostree'), { recursive: true });
    await mkdir(join(root, 'sysroot/composefs'), { recursive: true });
    await assert.rejects(host.status(), { code: 'HostUnsupported', message: /composefs backend/ });
  });
});
