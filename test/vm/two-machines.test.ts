/** Two machines of a cluster, with a workload between them: what an operator does on each is bounded by the other. */
import assert from 'node:assert/strict';
import type { NodeOS } from '../../api/index.ts';
import { ObjectWatch } from '../../testbed/object-watch.ts';
import { FAILING_UNIT, publishNextVersion } from '../../testbed/vm/guest-versions.ts';
import { PhaseTimes } from '../../testbed/vm/phase-times.ts';
import { createWorkload } from '../../testbed/workload.ts';
import { oneAfterTheOther } from '../report/one-after-the-other.ts';
import { useVmBench } from './bench-hooks.ts';

/** Nobody waits for it but a host that is lost anyway. */
const LATE = 3600;
/** One on each machine; the budget of the workload lets one be away. */
const REPLICAS = 2;
const PODS = '/api/v1/namespaces/default/pods';
const BUDGETS = '/apis/policy/v1/namespaces/default/poddisruptionbudgets';
const NODE_OSES = '/apis/treeline.dev/v1alpha1/nodeoses';

interface Pod {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec: { readonly nodeName?: string };
  readonly status: { readonly conditions?: readonly { readonly type: string; readonly reason?: string }[] };
}

interface Budget {
  readonly metadata: { readonly name: string };
  readonly status?: { readonly currentHealthy?: number };
}

describe('two machines that treeline install wrote', function () {
  this.timeout(1_200_000);
  oneAfterTheOther();
  const bench = useVmBench(2);
  let digest = '';
  before(async () => {
    digest = await publishNextVersion(bench().registry, '1', '2');
    await createWorkload(bench().controlPlane, REPLICAS);
  });

  it('are moved one after the other, each drained before, and the workload stays within its budget', async () => {
    const { controlPlane, machines } = bench();
    const names = machines.map(({ name }) => name);
    const times = new PhaseTimes();
    /** Machines that held slots at the same time. */
    const together = new Set<string>();
    /** By the machine that they left. */
    const evicted = new Map<string, string>();
    await bench().eventually('the budget counts all pods', async () => {
      const items = (await controlPlane.call({ path: BUDGETS })).body['items'] as readonly Budget[];
      return items.every(({ status }) => status?.currentHealthy === REPLICAS);
    });
    let fewest = REPLICAS;
    {
      await using _pods = new ObjectWatch<Pod>(controlPlane, PODS, (pod) => {
        const target = pod?.status.conditions?.find(({ type }) => type === 'DisruptionTarget');
        if (pod !== undefined && target?.reason === 'EvictionByEvictionAPI') {
          evicted.set(pod.metadata.name, pod.spec.nodeName ?? '');
        }
      });
      await using _budgets = new ObjectWatch<Budget>(controlPlane, BUDGETS, (budget) => {
        fewest = Math.min(fewest, budget?.status?.currentHealthy ?? fewest);
      });
      await using nodeOSes: ObjectWatch<NodeOS> = new ObjectWatch<NodeOS>(controlPlane, NODE_OSES, (changed) => {
        if (changed !== undefined) times.note(changed);
        const holders = [...nodeOSes.items.values()].filter(({ status }) => status?.rollout?.slotTime !== undefined);
        if (holders.length > 1) for (const { metadata } of holders) together.add(metadata.name);
      });
      await bench().applyImage(bench().spec('2'));
      for (const { name, machine } of machines) {
        await bench().eventually(`${name} is updated`, async () => {
          const status = (await bench().nodeOS(name))?.status;
          return status?.rollout?.phase === 'Updated' && status.host?.booted?.digest === digest;
        });
        assert.equal(await machine.run('cat /usr/lib/treeline-testbed-release'), 'VERSION=2');
        assert.equal(machine.boots.length, 2, `${name} was booted once more`);
        process.stdout.write(`${name}: ${times.describe(name)}\n`);
      }
    }
    assert.deepEqual([...together], [], 'a slot for one at a time');
    assert.ok(fewest >= REPLICAS - 1, `${fewest} healthy pods of ${REPLICAS}`);
    assert.deepEqual(new Set(evicted.values()), new Set(names), 'pods left both machines, by eviction');
  });

  it('are not both asked to boot a version that is broken: the first comes back from it, and the other never has it', async () => {
    const { controlPlane, machines } = bench();
    const broken = await publishNextVersion(bench().registry, '2', '3', FAILING_UNIT.files);
    const boots = machines.map(({ machine }) => machine.boots.length);
    const asked = new Set<string>();
    await using _orders = new ObjectWatch<NodeOS>(controlPlane, NODE_OSES, (changed) => {
      const order = changed?.spec.order;
      if (order?.goal === 'Boot' && order.digest === broken) asked.add(changed?.metadata.name ?? '');
    });
    const hostRollback = { deadlineSeconds: LATE, units: [FAILING_UNIT.name] };
    const rollout = { maxUnavailable: 1, onFailure: 'RollBack' };
    await bench().applyImage(bench().spec('3', { rollout, health: { hostRollback } }));
    await bench().eventually('version 3 is quarantined, and the fleet to run what it ran before', async () => {
      const { status } = await bench().osImage();
      const quarantined = status?.quarantinedDigests?.some((entry) => entry.digest === broken) === true;
      return quarantined && status?.target?.digest === digest;
    });
    for (const { name } of machines) {
      await bench().eventually(`${name} runs version 2, and is done`, async () => {
        const status = (await bench().nodeOS(name))?.status;
        return status?.rollout?.phase === 'Updated' && status.host?.booted?.digest === digest;
      });
    }
    const [first = ''] = asked;
    assert.equal(asked.size, 1, [...asked].join(', '));
    const expected = machines.map(({ name }, at) => (boots[at] ?? 0) + (name === first ? 2 : 0));
    assert.deepEqual(
      machines.map(({ machine }) => machine.boots.length),
      expected,
    );
    assert.equal((await bench().nodeOS(first))?.status?.host?.fallback?.reason, 'UnitFailed');
  });
});
