/** FleetLock before a real API server: locks and slots out of one budget, durable on the Node. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { parseAllDocuments } from 'yaml';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { clearCluster, sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { createFleet, must, OS_IMAGES } from './crd-objects.ts';
import { eventually, startOperator, waitUntilReady } from './operator-harness.ts';
import { SimulatedNode } from './simulated-node.ts';
import { SimulatedRegistry } from './simulated-registry.ts';

const POOL = { pool: 'fleet-lock' };
const OLD = `sha256:${'0'.repeat(64)}`;

interface PodOwner {
  readonly template: {
    readonly metadata: { readonly labels: Record<string, string> };
    readonly spec: {
      readonly containers: readonly { readonly ports?: readonly { readonly containerPort: number }[] }[];
    };
  };
}

describe('FleetLock', () => {
  let controlPlane: ControlPlane;
  const disposals: AsyncDisposable[] = [];
  const keep = <T extends AsyncDisposable>(one: T): T => {
    disposals.push(one);
    return one;
  };

  before(async () => {
    controlPlane = await sharedControlPlane();
  });
  afterEach(async () => {
    for (const one of disposals.splice(0).reverse()) await one[Symbol.asyncDispose]();
    await clearCluster(controlPlane);
  });

  it('locks one host at a time, across a restart of the operator, and no slot is granted beside it', async () => {
    const registry = keep(await new SimulatedRegistry().start());
    const digest = registry.push('os', 'v2', '2.0');
    const excluded = { ...POOL, 'treeline.dev/exclude': '' };
    for (const name of ['z1', 'z2']) keep(await SimulatedNode.register(controlPlane, name, excluded, { digest: OLD }));
    const ruled = keep(await SimulatedNode.register(controlPlane, 'z3', POOL, { digest: OLD }));
    const start = async () => {
      const { promise, resolve } = Promise.withResolvers<string>();
      const operator = keep(
        await startOperator(controlPlane, registry.host, 'operator-0', {
          fleetLock: { address: '127.0.0.1', port: 0 },
          onReady: ({ fleetLockAddress }) => resolve(fleetLockAddress ?? ''),
        }),
      );
      return { operator, url: await promise };
    };
    const ask = async (url: string, path: string, id: string) => {
      const response = await fetch(`${url}${path}`, {
        method: 'POST',
        headers: { 'fleet-lock-protocol': 'true' },
        body: JSON.stringify({ client_params: { id, group: 'fleet' } }),
      });
      const text = await response.text();
      return [response.status, text === '' ? '' : (JSON.parse(text) as { readonly value: string }).value] as const;
    };
    const isCordoned = async (name: string) => {
      const { body } = await controlPlane.call({ path: `/api/v1/nodes/${name}` });
      return (body['spec'] as { readonly unschedulable?: boolean }).unschedulable === true;
    };
    const image = { reference: `${registry.host}/os:v2` };
    const paused = { maxUnavailable: 1, paused: true };
    await createFleet(controlPlane, { nodeSelector: { matchLabels: POOL }, image, rollout: paused });
    const first = await start();
    const inPause = await eventually('a refusal that says why', async () => {
      const [status, why] = await ask(first.url, '/v1/pre-reboot', 'z1');
      return status === 409 && why;
    });
    assert.match(inPause, /paused/);
    const resumed = { spec: { rollout: { paused: false }, image: { reference: `${registry.host}/os:none` } } };
    await must(controlPlane, { method: 'PATCH', path: `${OS_IMAGES}/fleet`, body: resumed });
    await eventually('z1 is locked', async () => (await ask(first.url, '/v1/pre-reboot', 'z1'))[0] === 200);
    assert.ok(await isCordoned('z1'));
    assert.match((await ask(first.url, '/v1/pre-reboot', 'z2')).join(' '), /^409 1 of at most 1 nodes/);
    await first.operator.stop();

    const second = await start();
    await eventually('the lock is still there', async () => (await ask(second.url, '/v1/pre-reboot', 'z1'))[0] === 200);
    const target = { spec: { image: { reference: `${registry.host}/os:v2` } } };
    await must(controlPlane, { method: 'PATCH', path: `${OS_IMAGES}/fleet`, body: target });
    await eventually('z3 waits for the lock', async () => {
      const { body } = await controlPlane.call({ path: '/apis/treeline.dev/v1alpha1/nodeoses/z3' });
      const { rollout } = body['status'] as { readonly rollout?: { readonly phase: string } };
      return rollout?.phase === 'AwaitingSlot';
    });
    assert.deepEqual(ruled.boots, []);
    await eventually('z1 is back', async () => (await ask(second.url, '/v1/steady-state', 'z1'))[0] === 200);
    assert.equal(await isCordoned('z1'), false);
    await waitUntilReady(controlPlane, 'fleet', digest);
    assert.deepEqual(ruled.boots, [digest]);
    await eventually('z2 is locked at last', async () => (await ask(second.url, '/v1/pre-reboot', 'z2'))[0] === 200);
  });

  it('is where the Service of the optional manifest leads: to the pods of the operator, at the port that its flag opens', async () => {
    const manifest = 'manifests/optional/fleet-lock-service.yaml';
    await controlPlane.kubectl(['apply', '-f', manifest]);
    try {
      const { items } = JSON.parse(await controlPlane.kubectl(['get', '-f', manifest, '-o', 'json'])) as {
        items: { kind: string; spec: { selector: Record<string, string>; ports: { targetPort: number }[] } }[];
      };
      const service = items.find(({ kind }) => kind === 'Service') ?? assert.fail('no Service');
      const base = await controlPlane.kubectl(['kustomize', 'manifests/base']);
      const deployment = parseAllDocuments(base)
        .map((document) => document.toJS() as { kind: string; spec: PodOwner })
        .find(({ kind }) => kind === 'Deployment');
      const { metadata, spec } = deployment?.spec.template ?? assert.fail('no Deployment in manifests/base');
      assert.deepEqual({ ...metadata.labels, ...service.spec.selector }, metadata.labels);
      const taken = spec.containers.flatMap(({ ports = [] }) => ports.map(({ containerPort }) => containerPort));
      const [port] = service.spec.ports;
      assert.ok(port !== undefined && !taken.includes(port.targetPort), 'the port is one that nothing else listens on');
      const page = await readFile('docs/tasks/hosts-that-reboot-themselves.md', 'utf8');
      assert.ok(page.includes(`--fleet-lock 0.0.0.0:${port.targetPort}`));
    } finally {
      await controlPlane.kubectl(['delete', '-f', manifest]);
    }
  });
});
