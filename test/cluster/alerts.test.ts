/** Alerts of a Prometheus that stands in for a real one, before the slots of a rollout on a real API server. */
import assert from 'node:assert/strict';
import { PrometheusStandIn } from '../../testbed/prometheus-stand-in.ts';
import { OS_IMAGES, must } from './crd-objects.ts';
import { readNodeOS, readOSImage, waitUntilReady } from './operator-harness.ts';
import { Pool } from './pool.ts';

describe('alerts', () => {
  const pool = new Pool('alert-test');
  let prometheus: PrometheusStandIn;
  beforeEach(async () => {
    prometheus = pool.keep(await PrometheusStandIn.start());
  });
  const applyImage = (alerts: object) => pool.applyImage({ health: { alerts } });

  it('that fire keep nodes from their slots until they are over, and nobody asks when all is done', async () => {
    const nodes = await pool.registerNodes('a1', 'a2');
    prometheus.alerts = [
      { labels: { alertname: 'Watchdog', severity: 'critical' } },
      { labels: { alertname: 'DiskFull', severity: 'critical' } },
      { labels: { alertname: 'CertOld', severity: 'warning' } },
    ];
    await pool.startOperator();
    await applyImage({
      prometheusURL: prometheus.url,
      selector: { matchExpressions: [{ key: 'severity', operator: 'In', values: ['critical'] }] },
    });
    await pool.blocker(/^No node gets a slot while alerts fire: DiskFull\. /, 'AlertsFiring');
    for (const name of ['a1', 'a2'])
      assert.equal((await readNodeOS(pool.controlPlane, name)).status?.rollout?.slotTime, undefined);
    prometheus.alerts = [];
    await waitUntilReady(pool.controlPlane, 'fleet', pool.digest);
    assert.deepEqual(
      nodes.map(({ boots }) => boots),
      [[pool.digest], [pool.digest]],
    );
    const { blockers } = (await readOSImage(pool.controlPlane, 'fleet')).status ?? {};
    assert.deepEqual(blockers ?? [], []);
  });

  it('that nobody can tell of hold the rollout, or not, as the policy says', async () => {
    await pool.registerNode('u1');
    prometheus.answer = (response) => void response.writeHead(503).end();
    await pool.startOperator();
    await applyImage({ prometheusURL: prometheus.url });
    await pool.blocker(/cannot be told\. http:\/\/127\.0\.0\.1:\d+ answers with HTTP 503\./, 'AlertsUnreachable');
    const patch = { spec: { health: { alerts: { onUnreachable: 'Ignore' } } } };
    await must(pool.controlPlane, { method: 'PATCH', path: `${OS_IMAGES}/fleet`, body: patch });
    await waitUntilReady(pool.controlPlane, 'fleet', pool.digest);
  });
});
