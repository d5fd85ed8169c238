/**
 * A node as users have it, down to its kernel: a virtual machine with a boot loader, systemd, cgroups version 2, a kubelet and
 * containerd, whose agent is the pod of the DaemonSet. The operator's pod is on another node.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { DEFAULT_NAMESPACE, type NodeOS } from '../../api/index.ts';
import { NodeLab } from '../../testbed/nodes/node-lab.ts';
import { ObjectWatch } from '../../testbed/object-watch.ts';
import { ensureGuestImage, GUEST, GUEST_BASE } from '../../testbed/vm/guest-image.ts';
import { publishNextVersion } from '../../testbed/vm/guest-versions.ts';
import { PhaseTimes } from '../../testbed/vm/phase-times.ts';
import { KUBERNETES_GUEST, KubernetesGuest } from '../../testbed/vm/kubernetes-guest.ts';
import { oneAfterTheOther } from '../report/one-after-the-other.ts';
import { lookForTraces, type MachineTraces } from './machine-traces.ts';
import type { Pod } from './nodes-bench.ts';

/** An argument of Treeline's own processes, and none of a process that looks for it. */
const PROGRAM = '/opt/treeline/dist/treeline[.]mjs';
/** Nobody waits for it but a host that is lost anyway. */
const LATE = 3600;
const UNITS = ['kubelet.service'];

describe('a node with a real systemd', function () {
  this.timeout(1_800_000);
  oneAfterTheOther();
  let lab: NodeLab;
  let guest: KubernetesGuest;
  let logs = '';
  let untouched: MachineTraces;
  const resources = new AsyncDisposableStack();
  before(async () => {
    logs = await mkdtemp(join(tmpdir(), 'treeline-nodes-logs-'));
    untouched = await lookForTraces();
    const say = (line: string): void => void process.stdout.write(`${line}\n`);
    const guests = { names: [KUBERNETES_GUEST], storage: await ensureGuestImage(say, 'Node') };
    lab = resources.use(await NodeLab.start({ nodeCount: 1, guests, logs, say }));
    await publishNextVersion(lab.registry, GUEST_BASE, '1');
    guest = resources.use(await KubernetesGuest.start(lab, logs));
    await lab.install();
  });
  after(async function keepLogsOfFailures() {
    const failed = this.test?.parent?.tests.some(({ state }) => state !== 'passed') ?? true;
    if (failed && guest?.machine.pid !== undefined) await writeFile(join(logs, 'journal.log'), await guest.journal());
    await resources.disposeAsync();
    if (failed) process.stdout.write(`The logs of the control plane, the nodes and the pods are in ${logs}.\n`);
    else await rm(logs, { recursive: true });
  });

  async function agent(): Promise<Pod> {
    const { body } = await lab.controlPlane.call({
      path: `/api/v1/namespaces/${DEFAULT_NAMESPACE}/pods?labelSelector=app.kubernetes.io/name%3Dtreeline-agent`,
    });
    const pod = (body['items'] as readonly Pod[]).find(({ spec }) => spec.nodeName === KUBERNETES_GUEST);
    assert.ok(pod);
    return pod;
  }

  async function order(version: string): Promise<void> {
    await lab.applyImage('guests', {
      nodeSelector: { matchLabels: { 'kubernetes.io/hostname': KUBERNETES_GUEST } },
      image: { reference: `${lab.registry.host}/${GUEST}:${version}` },
      rollout: { maxUnavailable: 1 },
      health: { hostRollback: { deadlineSeconds: LATE, units: UNITS } },
    });
  }

  it('runs the agent in a scope of its systemd, on cgroups version 2, where it misses nothing', async () => {
    const { machine } = guest;
    assert.equal(await machine.run('stat --file-system --format=%T /sys/fs/cgroup'), 'cgroup2fs');
    assert.equal(await machine.run('cat /proc/1/comm'), 'systemd');
    const said = await guest.eventually('the agent has looked at its host', async () => {
      const { output } = await machine.tryRun('cat /var/log/pods/*/agent/*.log');
      return /the host (offers|does not offer) what the agent needs/.test(output) && output;
    });
    assert.doesNotMatch(said, /does not offer/);
    const found = await machine.run(`grep -lzx '${PROGRAM}' /proc/[0-9]*/cmdline`);
    for (const process of found.split('\n').map(dirname)) {
      assert.match(
        await machine.run(`cat ${process}/cgroup`),
        /^0::\/kubepods\.slice\/.*\/cri-containerd-[0-9a-f]{64}\.scope/,
      );
    }
    assert.equal(
      (await machine.tryRun('touch /sysroot/x')).status,
      1,
      'which the agent makes writable for itself alone',
    );
  });

  it('moves to version 2, which its systemd finalises and its boot loader tries once, and the pod stays the same', async () => {
    const { machine } = guest;
    const before = await agent();
    const digest = await publishNextVersion(lab.registry, '1', '2');
    await machine.run('echo kept > /etc/edited-by-hand; echo kept > /var/lib/kept; sync');
    const times = new PhaseTimes();
    const nodeOSes = '/apis/treeline.dev/v1alpha1/nodeoses';
    await using _watch = new ObjectWatch<NodeOS>(lab.controlPlane, nodeOSes, (changed) => {
      if (changed !== undefined) times.note(changed);
    });
    await order('2');
    await guest.eventually('the node is updated', async () => {
      const status = (await lab.nodeOS(KUBERNETES_GUEST))?.status;
      return status?.rollout?.phase === 'Updated' && status.host?.booted?.digest === digest;
    });
    assert.equal(
      await machine.run('cat /usr/lib/treeline-testbed-release /etc/edited-by-hand /var/lib/kept'),
      'VERSION=2\nkept\nkept',
    );
    process.stdout.write(`      ${KUBERNETES_GUEST}: ${times.describe(KUBERNETES_GUEST)}\n`);
    assert.equal(machine.boots.length, 2);
    assert.equal((await lab.nodeOS(KUBERNETES_GUEST))?.status?.host?.bootID, machine.boots[1]);
    // By the drop-in of the unit that finalises, which is there for that one shutdown.
    assert.match(await machine.run('cat /proc/cmdline'), / panic=10/);
    assert.doesNotMatch(await machine.run('cat /boot/loader/syslinux.cfg'), /treeline/, 'it has proven itself');
    const now = await agent();
    assert.equal(now.metadata.uid, before.metadata.uid);
    assert.ok((now.status.containerStatuses?.[0]?.restartCount ?? 0) > 0);
    await guest.eventually('the repository is whole', async () => {
      return (await machine.tryRun('ostree fsck --quiet', 900_000)).status === 0;
    });
  });

  it('goes back by itself from a version whose kubelet does not start, though no pod runs there', async () => {
    const { machine } = guest;
    const broken = { path: 'usr/bin/kubelet', content: '#!/bin/sh\nexit 1\n', mode: 0o755 };
    const digest = await publishNextVersion(lab.registry, '2', '3', [broken]);
    await order('3');
    const fallback = await guest.eventually('the host says why it went back', async () => {
      const host = (await lab.nodeOS(KUBERNETES_GUEST))?.status?.host;
      return host?.fallback?.digest === digest && host.bootID === machine.boots.at(-1) && host.fallback;
    });
    assert.equal(fallback.reason, 'UnitFailed');
    assert.match(fallback.message ?? '', /kubelet\.service had failed/);
    assert.equal(await machine.run('cat /usr/lib/treeline-testbed-release'), 'VERSION=2');
    await guest.ready();
  });

  it('leaves nothing behind on the machine that ran it', async () => {
    await resources.disposeAsync();
    assert.deepEqual(await lookForTraces(), untouched);
  });
});
