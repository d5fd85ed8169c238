/** Control-plane nodes with API servers that run as pods: real API server, real operator, simulated hosts. */
import assert from 'node:assert/strict';
import { CONTROL_PLANE_LABEL } from '../../api/index.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { clearCluster, sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { createFleet, must } from './crd-objects.ts';
import { eventually, readOSImage, startOperator, waitUntilReady } from './operator-harness.ts';
import { SimulatedNode } from './simulated-node.ts';
import { SimulatedRegistry } from './simulated-registry.ts';

const OLD = `sha256:${'0'.repeat(64)}`;
const PODS = '/api/v1/namespaces/kube-system/pods';

describe('control-plane nodes', () => {
  let controlPlane: ControlPlane;
  before(async () => {
    controlPlane = await sharedControlPlane();
  });
  afterEach(async () => {
    await controlPlane.call({ method: 'DELETE', path: `${PODS}/kube-apiserver-c2?gracePeriodSeconds=0` });
    await controlPlane.call({ method: 'DELETE', path: `${PODS}/kube-proxy-c2?gracePeriodSeconds=0` });
    await clearCluster(controlPlane);
  });

  const pod = async (name: string, component: string) => {
    // As the kubelet mirrors a static pod; others would be evicted.
    const annotations = { 'kubernetes.io/config.mirror': 'x' };
    const metadata = { name, labels: { component }, annotations };
    const spec = { nodeName: 'c2', hostNetwork: true, containers: [{ name: 'c', image: 'none' }] };
    await must(controlPlane, { method: 'POST', path: PODS, body: { apiVersion: 'v1', kind: 'Pod', metadata, spec } });
    await say(name, 'False');
  };
  const say = (name: string, status: string) =>
    must(controlPlane, {
      method: 'PATCH',
      path: `${PODS}/${name}/status`,
      body: { status: { phase: 'Running', conditions: [{ type: 'Ready', status }] } },
    });

  it('wait for the API servers of the others, come after the workers, and go one at a time', async () => {
    await using registry = await new SimulatedRegistry().start();
    await using stack = new AsyncDisposableStack();
    const digest = registry.push('os', 'v2', '2.0');
    const booted: string[] = [];
    const join = async (name: string, labels: Record<string, string>) => {
      const node = await SimulatedNode.register(controlPlane, name, labels, { digest: OLD, bootMs: 300 });
      node.fallsBackFrom = () => booted.push(name) === 0;
      return stack.use(node);
    };
    await join('c1', { [CONTROL_PLANE_LABEL]: '' });
    await join('c2', { [CONTROL_PLANE_LABEL]: '' });
    await join('w1', {});
    await pod('kube-apiserver-c2', 'kube-apiserver');
    await pod('kube-proxy-c2', 'kube-proxy');
    stack.use(await startOperator(controlPlane, registry.host));
    const image = { reference: `${registry.host}/os:v2` };
    const spec = { nodeSelector: {}, image, rollout: { maxUnavailable: '100%' } };
    await createFleet(controlPlane, spec);
    await eventually('the first waits for the API server of the second', async () => {
      const { blockers, nodes } = (await readOSImage(controlPlane, 'fleet')).status ?? {};
      const told = blockers?.find(({ type }) => type === 'ControlPlaneUnavailable')?.message ?? '';
      return nodes?.updated === 2 && /the API server on c2 is not Ready/.test(told);
    });
    assert.deepEqual(booted, ['w1', 'c2'], 'the worker, and then the one whose own API server is away');
    await say('kube-apiserver-c2', 'True');
    await waitUntilReady(controlPlane, 'fleet', digest);
    assert.deepEqual(booted, ['w1', 'c2', 'c1']);
  });
});
