import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { requireLocks } from '../../../node-agent/image-store.ts';
import { OstreeAdminHost } from '../../../node-agent/host/ostree-admin.ts';
import { OstreeTool } from '../../../node-agent/host/ostree-tool.ts';
import { type HostUnderTest, shortcomingsOf } from '../../../node-agent/host/shortcomings.ts';

const BOOTED = `* os ${'a'.repeat(64)}.0\n`;

describe('what a host must offer to the agent', () => {
  let root = '';
  /** What the host's programs answer; those that are not here are not installed. */
  let answers: Map<string, string>;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'treeline-host-'));
    await mkdir(join(root, 'proc/sys/kernel/random'), { recursive: true });
    await mkdir(join(root, 'ostree/repo/objects'), { recursive: true });
    await writeFile(join(root, 'proc/sys/kernel/random/boot_id'), 'boot-1\n');
    await writeFile(join(root, 'ostree/repo/config'), '[core]\nrepo_version=1\nmode=bare\n');
    answers = new Map([
      ['true', ''],
      ['ostree --version', "libostree:\n Version: '2022.7'\n"],
      ['ostree admin status', BOOTED],
      ['sh -c command -v systemctl', '/usr/bin/systemctl\n'],
    ]);
  });
  afterEach(() => rm(root, { recursive: true }));

  function lookAt(
    changes: Partial<HostUnderTest> = {},
    from: Pick<HostUnderTest, 'firstProcessRoot'> = { firstProcessRoot: root },
  ): Promise<readonly string[]> {
    const run = async (argv: readonly string[]) => {
      const answer = answers.get(argv.join(' '));
      if (answer === undefined) throw new Error(`${argv[0]} was not found`);
      return answer;
    };
    const host = new OstreeAdminHost({ sysroot: root, run, readImageFacts: async () => undefined });
    return shortcomingsOf({
      sysroot: root,
      ...from,
      run,
      tool: new OstreeTool(run),
      status: () => host.status(),
      makeWritable: async () => undefined,
      lock: () => requireLocks(root),
      whyNotConfined: async () => undefined,
      ...changes,
    });
  }

  /** That these and no others are missing, in order. */
  function assertMissing(found: readonly string[], ...expected: readonly RegExp[]): void {
    assert.equal(found.length, expected.length, found.join('\n'));
    for (const [index, pattern] of expected.entries()) assert.match(found[index] ?? '', pattern);
  }

  it('is missing in nothing on a host that offers it', async () => {
    assertMissing(await lookAt());
  });

  it('is told all at once, each with what to do', async () => {
    answers.delete('sh -c command -v systemctl');
    answers.set('ostree --version', "libostree:\n Version: '2021.6'\n");
    answers.set('ostree admin status', BOOTED.replace('*', ' '));
    assertMissing(
      await lookAt({ whyNotConfined: async () => 'unshare: operation not permitted' }),
      /update it to 2022\.2 or later/,
      /has not been booted from an OSTree deployment: install an OS image on it/,
      /no systemctl.*: the operating system must have systemd/,
      /operation not permitted.*: nothing may forbid the agent namespaces/,
    );
  });

  it('is not blamed on the host where the pod does not see it', async () => {
    await rm(join(root, 'proc'), { recursive: true });
    assertMissing(await lookAt(), /boot_id cannot be read .*: mount the host's root/);
  });

  it('is not blamed on the host where the pod cannot enter it', async () => {
    answers.delete('true');
    assertMissing(await lookAt(), /process 1 cannot be entered \(true was not found\): run the container privileged/);
    await mkdir(join(root, 'container'));
    assertMissing(await lookAt({ firstProcessRoot: join(root, 'container') }), /is not the root of process 1.*hostPID/);
    assertMissing(await lookAt({ firstProcessRoot: join(root, 'none') }), /cannot be entered \(ENOENT/);
  });

  it('is not asked of process 1 by an agent that is on the host itself', async () => {
    answers.delete('true');
    assertMissing(await lookAt({}, {}));
  });

  it('is missing without ostree, and what ostree would say is then not listed as well', async () => {
    answers.delete('ostree --version');
    answers.delete('ostree admin status');
    await rename(join(root, 'ostree'), join(root, 'other'));
    assertMissing(await lookAt(), /ostree does not run \(ostree was not found\): .* libostree 2022\.2 or later/);
  });

  it('is missing on a host that OSTree has not booted, whose ostree speaks of directories, and not of that', async () => {
    answers.delete('ostree admin status');
    await rename(join(root, 'ostree'), join(root, 'other'));
    assertMissing(await lookAt(), /has not been booted from an OSTree deployment: install an OS image on it/);
    await mkdir(join(root, 'run'));
    await writeFile(join(root, 'run/ostree-booted'), '');
    assertMissing(await lookAt(), /^ostree was not found$/);
  });

  it('is the tool that the agent is told to deploy by, and no certain libostree then', async () => {
    answers.set('ostree --version', "libostree:\n Version: '2021.6'\n");
    assertMissing(await lookAt({ deployer: 'bootc' }), /bootc does not run .*--host that owns this host/);
    answers.set('bootc --version', 'bootc 1.1\n');
    assertMissing(await lookAt({ deployer: 'bootc' }));
  });

  it('is a repository that can be made writable, and locked', async () => {
    const makeWritable = async () => {
      throw new Error('mount: permission denied');
    };
    assertMissing(await lookAt({ makeWritable }), /mounted read-only.*permission denied.*PrivateMounts=/);
    await rm(join(root, 'ostree/repo/config'));
    assertMissing(await lookAt(), /cannot be locked: .*not an OSTree repository/);
  });
});
