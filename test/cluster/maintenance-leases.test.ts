/** Sharing nodes with others who maintain them, with real Leases and the rights of the optional manifest. */
import assert from 'node:assert/strict';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CORDONED_BY_ANNOTATION } from '../../api/index.ts';
import type { MaintenanceLease } from '../../operator/kube/maintenance-leases.ts';
import { operatorToken } from '../../testbed/control-plane-treeline.ts';
import type { ApiCall } from '../../testbed/control-plane-client.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { clearCluster, sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { createFleet, must, NODE_OSES } from './crd-objects.ts';
import { eventually, readOSImage, startOperator, waitUntilReady } from './operator-harness.ts';
import { SimulatedNode } from './simulated-node.ts';
import { SimulatedRegistry } from './simulated-registry.ts';

const MANIFEST = join(import.meta.dirname, '..', '..', 'manifests', 'optional', 'operator-maintenance-leases.yaml');
const NAMESPACE = 'medik8s-leases';
const LEASES = `/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases`;
const POOL = { pool: 'maintenance-leases' };
const OLD = `sha256:${'0'.repeat(64)}`;

const micro = (time: number) => new Date(time).toISOString().replace('Z', '000Z');

function leaseOf(node: string, holderIdentity: string, leaseDurationSeconds = 3600, renewed = Date.now()) {
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name: `node-${node}` },
    spec: { holderIdentity, leaseDurationSeconds, renewTime: micro(renewed), acquireTime: micro(renewed) },
  };
}

describe('maintenance leases', () => {
  let controlPlane: ControlPlane;
  let token: string;

  before(async () => {
    controlPlane = await sharedControlPlane();
    const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } };
    await controlPlane.call({ method: 'POST', path: '/api/v1/namespaces', body: namespace });
    await controlPlane.kubectl(['apply', '-f', MANIFEST]);
    token = await operatorToken(controlPlane);
    await eventually('the policy is enforced', async () => {
      const body = leaseOf('probe', 'somebody');
      return (await controlPlane.call({ method: 'POST', path: `${LEASES}?dryRun=All`, token, body })).code === 403;
    });
  });
  after(async () => {
    await controlPlane.call({ method: 'DELETE', path: LEASES });
    await controlPlane.kubectl(['delete', '-f', MANIFEST]);
  });
  afterEach(() => controlPlane.call({ method: 'DELETE', path: LEASES }));

  const heldBy = async (node: string): Promise<string | undefined> => {
    const { body } = await controlPlane.call({ path: `${LEASES}/node-${node}` });
    return (body as unknown as Partial<MaintenanceLease>).spec?.holderIdentity;
  };
  const holders = async (): Promise<ReadonlyMap<string, string | undefined>> => {
    const { body } = await controlPlane.call({ path: LEASES });
    const { items } = body as unknown as { readonly items: readonly MaintenanceLease[] };
    return new Map(items.map(({ metadata, spec }) => [metadata.name.slice('node-'.length), spec.holderIdentity]));
  };

  describe('as the operator may write them', () => {
    type Row = readonly [
      deed: string,
      before: ReturnType<typeof leaseOf> | undefined,
      call: ApiCall,
      code: number,
      message?: RegExp,
    ];
    const path = `${LEASES}/node-a`;
    const hourAgo = Date.now() - 3_600_000;
    const put = (body: ReturnType<typeof leaseOf>): ApiCall => ({ method: 'PUT', path, body });
    const own = leaseOf('a', 'treeline');
    const rows: readonly Row[] = [
      ['can list them', undefined, { path: LEASES }, 200],
      ['can watch them', undefined, { path: `${LEASES}?watch=true&timeoutSeconds=1` }, 200],
      ['can take one that is not there', undefined, { method: 'POST', path: LEASES, body: own }, 201],
      ['can renew its own', own, put(own), 200],
      ['can give its own back', own, { method: 'DELETE', path }, 200],
      ['can take over one that has run out', leaseOf('a', 'gone', 60, hourAgo), put(own), 200],
      ['can take one that nobody holds', leaseOf('a', '', 60), put(own), 200],
      [
        'cannot take over one that is good',
        leaseOf('a', 'node-maintenance'),
        put(own),
        403,
        /only after it has run out/,
      ],
      [
        'cannot delete that of somebody else',
        leaseOf('a', 'gone', 60, hourAgo),
        { method: 'DELETE', path },
        403,
        /give back only/,
      ],
      [
        'cannot take one for somebody else',
        undefined,
        { method: 'POST', path: LEASES, body: leaseOf('a', 'kured') },
        403,
        /only for itself/,
      ],
      [
        'cannot delete all of them at once',
        undefined,
        { method: 'DELETE', path: LEASES },
        403,
        /cannot deletecollection/,
      ],
      [
        'cannot write one in another namespace',
        undefined,
        { method: 'POST', path: LEASES.replace(NAMESPACE, 'default'), body: own },
        403,
        /cannot create/,
      ],
    ];
    for (const [deed, before, call, code, message] of rows) {
      it(deed, async () => {
        if (before !== undefined) await must(controlPlane, { method: 'POST', path: LEASES, body: before });
        const { body } = await controlPlane.call({ path });
        const { metadata } = body as unknown as Partial<MaintenanceLease>;
        // A PUT names the version that it replaces.
        const current = call.method === 'PUT' ? { body: { ...(call.body as typeof own), metadata } } : {};
        const answer = await controlPlane.call({ ...call, ...current, token });
        assert.equal(answer.code, code, answer.message);
        if (message !== undefined) assert.match(answer.message, message);
      });
    }
  });

  describe('in a rollout', () => {
    let registry: SimulatedRegistry;
    let digest: string;
    let disposals: AsyncDisposable[];

    beforeEach(async () => {
      registry = await new SimulatedRegistry().start();
      disposals = [registry];
      digest = registry.push('os', 'v2', '2.0');
    });
    afterEach(async () => {
      for (const one of disposals.reverse()) await one[Symbol.asyncDispose]();
      await clearCluster(controlPlane);
    });
    const keep = <T extends AsyncDisposable>(one: T): T => {
      disposals.push(one);
      return one;
    };
    const start = async () =>
      keep(await startOperator(controlPlane, registry.host, 'operator-0', { maintenanceLeases: NAMESPACE }));
    const register = async (...names: string[]) => {
      const nodes = [];
      for (const name of names)
        nodes.push(keep(await SimulatedNode.register(controlPlane, name, POOL, { digest: OLD, bootMs: 1500 })));
      return nodes;
    };
    const apply = () =>
      createFleet(controlPlane, {
        nodeSelector: { matchLabels: POOL },
        image: { reference: `${registry.host}/os:v2` },
      });

    it('no node that we have cordoned is without our lease, no remediator gets one while it is down, and none is left', async () => {
      await register('m1', 'm2', 'm3');
      const remediator = keep(new Remediator(controlPlane));
      await start();
      await apply();
      await waitUntilReady(controlPlane, 'fleet', digest, 120_000);
      await eventually('all leases given back', async () => (await holders()).size === 0);
      assert.deepEqual(remediator.unheld, []);
      assert.deepEqual(remediator.remediated, []);
      assert.deepEqual([...remediator.refused].toSorted(), ['m1', 'm2', 'm3'], 'each node was down for a while');
    });

    it('a node that somebody else maintains is named with who it is, passed over, and updated when it is given back', async () => {
      const [first, second] = await register('m1', 'm2');
      await must(controlPlane, { method: 'POST', path: LEASES, body: leaseOf('m1', 'node-maintenance') });
      await start();
      await apply();
      await eventually('m2 is updated', async () => second?.bootedDigest === digest);
      const blocker = await eventually('the blocker', async () => {
        const { status } = await readOSImage(controlPlane, 'fleet');
        return status?.blockers?.find(({ type }) => type === 'MaintenanceLeaseHeld');
      });
      assert.deepEqual([blocker.node, blocker.object], ['m1', `Lease/${NAMESPACE}/node-m1`]);
      assert.match(blocker.message, /maintained by node-maintenance/);
      assert.equal(first?.bootedDigest, OLD);
      assert.equal(await heldBy('m1'), 'node-maintenance');
      await must(controlPlane, { method: 'DELETE', path: `${LEASES}/node-m1` });
      await waitUntilReady(controlPlane, 'fleet', digest);
      assert.deepEqual(first?.boots, [digest]);
    });

    it('an operator that may not read them disturbs no node, and says what it lacks', async () => {
      await register('m1');
      const port = await freePort();
      const further = { maintenanceLeases: 'default', health: { address: '127.0.0.1', port } };
      keep(await startOperator(controlPlane, registry.host, 'operator-0', further));
      await apply();
      const said = await eventually('it says so', async () => {
        const answer = await fetch(`http://127.0.0.1:${port}/readyz`);
        return answer.status === 503 && answer.text();
      });
      assert.match(said, /maintenance leases is not complete/);
      await delay(2000);
      const { code } = await controlPlane.call({ path: `${NODE_OSES}/m1` });
      assert.equal(code, 404, 'the node is not even taken note of');
    });

    it('one that has run out is taken over, and a restarted operator goes on with what it holds', async () => {
      const [node] = await register('m1', 'm2');
      await must(controlPlane, { method: 'POST', path: LEASES, body: leaseOf('m1', 'gone', 60, Date.now() - 120_000) });
      const operator = await start();
      await apply();
      await eventually('m1 or m2 is held', async () => [...(await holders()).values()].includes('treeline'));
      await operator.stop();
      await start();
      await waitUntilReady(controlPlane, 'fleet', digest, 120_000);
      assert.deepEqual(node?.boots, [digest]);
      await eventually('all leases given back', async () => (await holders()).size === 0);
    });
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/**
 * Does what NodeHealthCheck does for nodes that are down, without its patience: it remediates only what it gets the lease
 * of, by the rule of medik8s. Also looks all the time for nodes that we have cordoned without holding their lease.
 */
class Remediator implements AsyncDisposable {
  readonly refused = new Set<string>();
  readonly remediated: string[] = [];
  readonly unheld: string[] = [];
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  readonly #controlPlane: ControlPlane;

  constructor(controlPlane: ControlPlane) {
    this.#controlPlane = controlPlane;
    this.#done = this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #run(): Promise<void> {
    interface Nodes {
      readonly items: readonly {
        readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> };
        readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
      }[];
    }
    while (!this.#stop.signal.aborted) {
      const before = await this.#held();
      const { items } = (await this.#controlPlane.call({ path: '/api/v1/nodes' })).body as unknown as Nodes;
      const after = await this.#held();
      for (const { metadata, status } of items) {
        const { name, annotations } = metadata;
        const ours = before.has(name) || after.has(name);
        if (annotations?.[CORDONED_BY_ANNOTATION] !== undefined && !ours) this.unheld.push(name);
        if (status.conditions?.some(({ type, status: is }) => type === 'Ready' && is !== 'True') === true)
          await this.#remediate(name);
      }
      await delay(20);
    }
  }

  async #held(): Promise<ReadonlySet<string>> {
    const { body } = await this.#controlPlane.call({ path: LEASES });
    const { items } = body as unknown as { readonly items: readonly MaintenanceLease[] };
    const held = items.filter(({ spec }) => spec.holderIdentity === 'treeline');
    return new Set(held.map(({ metadata }) => metadata.name.slice('node-'.length)));
  }

  async #remediate(name: string): Promise<void> {
    const { code, body } = await this.#controlPlane.call({ path: `${LEASES}/node-${name}` });
    const { spec } = body as unknown as Partial<MaintenanceLease>;
    const renewed = Date.parse(spec?.renewTime ?? '');
    const good = renewed <= Date.now() && renewed + (spec?.leaseDurationSeconds ?? 0) * 1000 >= Date.now();
    if (code === 200 && good) this.refused.add(name);
    else this.remediated.push(name);
  }
}
