/** Alerts of a Prometheus that stands in for a real one, before the slots of a rollout on a real API server. */
import assert from 'node:assert/strict';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { PrometheusStandIn } from '../../testbed/prometheus-stand-in.ts';
import { clearCluster, sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { OS_IMAGES, must } from './crd-objects.ts';
import { eventually, readNodeOS, readOSImage, startOperator, waitUntilReady } from './operator-harness.ts';
import { SimulatedNode } from './simulated-node.ts';
import { SimulatedRegistry } from './simulated-registry.ts';

const POOL = { pool: 'alert-test' };
const OLD = `sha256:${'0'.repeat(64)}`;

describe('alerts', function () {
  this.timeout(120_000);
  let controlPlane: ControlPlane;
  let registry: SimulatedRegistry;
  let prometheus: PrometheusStandIn;
  let digest: string;
  let disposals: AsyncDisposable[];

  before(async () => {
    controlPlane = await sharedControlPlane();
  });
  beforeEach(async () => {
    registry = await new SimulatedRegistry().start();
    prometheus = await PrometheusStandIn.start();
    digest = registry.push('os', 'v2', '2.0');
    disposals = [registry, prometheus];
  });
  afterEach(async () => {
    for (const one of disposals.reverse()) await one[Symbol.asyncDispose]();
    await clearCluster(controlPlane);
  });

  const keep = <T extends AsyncDisposable>(one: T): T => {
    disposals.push(one);
    return one;
  };
  const applyImage = (alerts: object) =>
    must(controlPlane, {
      method: 'POST',
      path: OS_IMAGES,
      body: {
        apiVersion: 'treeline.dev/v1alpha1',
        kind: 'OSImage',
        metadata: { name: 'fleet' },
        spec: {
          nodeSelector: { matchLabels: POOL },
          image: { reference: `${registry.host}/os:v2` },
          health: { alerts },
        },
      },
    });
  const blocker = (type: string, says: RegExp) =>
    eventually(`${type} says ${String(says)}`, async () => {
      const { blockers = [] } = (await readOSImage(controlPlane, 'fleet')).status ?? {};
      return blockers.some((one) => one.type === type && says.test(one.message));
    });

  it('that fire keep nodes from their slots until they are over, and nobody asks when all is done', async () => {
    const nodes = [];
    for (const name of ['a1', 'a2'])
      nodes.push(keep(await SimulatedNode.register(controlPlane, name, POOL, { digest: OLD })));
    prometheus.alerts = [
      { labels: { alertname: 'Watchdog', severity: 'critical' } },
      { labels: { alertname: 'DiskFull', severity: 'critical' } },
      { labels: { alertname: 'CertOld', severity: 'warning' } },
    ];
    keep(await startOperator(controlPlane, registry.host));
    await applyImage({
      prometheusURL: prometheus.url,
      selector: { matchExpressions: [{ key: 'severity', operator: 'In', values: ['critical'] }] },
    });
    await blocker('AlertsFiring', /^No node gets a slot while alerts fire: DiskFull\. /);
    for (const name of ['a1', 'a2'])
      assert.equal((await readNodeOS(controlPlane, name)).status?.rollout?.slotTime, undefined);
    prometheus.alerts = [];
    await waitUntilReady(controlPlane, 'fleet', digest);
    assert.deepEqual(
      nodes.map(({ boots }) => boots),
      [[digest], [digest]],
    );
    const { blockers } = (await readOSImage(controlPlane, 'fleet')).status ?? {};
    assert.deepEqual(blockers ?? [], []);
  });

  it('that nobody can tell of hold the rollout, or not, as the policy says', async () => {
    keep(await SimulatedNode.register(controlPlane, 'u1', POOL, { digest: OLD }));
    prometheus.answer = (response) => void response.writeHead(503).end();
    keep(await startOperator(controlPlane, registry.host));
    await applyImage({ prometheusURL: prometheus.url });
    await blocker('AlertsUnreachable', /cannot be told\. http:\/\/127\.0\.0\.1:\d+ answers with HTTP 503\./);
    const patch = { spec: { health: { alerts: { onUnreachable: 'Ignore' } } } };
    await must(controlPlane, { method: 'PATCH', path: `${OS_IMAGES}/fleet`, body: patch });
    await waitUntilReady(controlPlane, 'fleet', digest);
  });
});
