/** What Prometheus is told, and the page that says what it means. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Metrics } from '../../../operator/metrics.ts';
import { imageOf, nodeOSOf } from '../rollout/fixtures.ts';

const sources = { isLeader: () => true, watches: [], policiesInForce: () => new Map<string, boolean>() };
const condition = (type: string, status: 'True' | 'False') =>
  ({ type, status, reason: 'Reason', message: '', lastTransitionTime: '2026-11-23T12:00:00Z' }) as const;

describe('The metrics of the operator', () => {
  it('are all on the page that says what they mean, with their labels, and no others', async () => {
    const page = readFileSync(new URL('../../../docs/reference/metrics.md', import.meta.url), 'utf8');
    const written = [...page.matchAll(/^\| `(treeline_\w+)` \| (.*?) +\|/gm)].map(([, name = '', labels = '']) => [
      name,
      [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label),
    ]);
    // A public part of the registry that its types leave out.
    const { registry } = new Metrics(sources);
    const served = registry.getMetricsAsArray() as unknown as { name: string; labelNames?: readonly string[] }[];
    const ours = served
      .filter(({ name }) => name.startsWith('treeline_'))
      .map(({ name, labelNames }) => [name, [...(labelNames ?? [])]]);
    const sorted = (rows: unknown[][]) => rows.toSorted((left, right) => (String(left[0]) < String(right[0]) ? -1 : 1));
    assert.deepEqual(sorted(written), sorted(ours));
  });

  it('count nodes by phase, say which conditions are True, and forget what is gone', async () => {
    const metrics = new Metrics(sources);
    const { object } = imageOf({ name: 'fleet' });
    const conditions = [condition('Ready', 'False'), condition('Stalled', 'True')];
    const resolution = { state: 'Pending' } as const;
    const images = [{ object: { ...object, status: { conditions } }, resolution }];
    const nodeOSes = [nodeOSOf('a', { rollout: { phase: 'Rebooting' } }), nodeOSOf('b')];
    metrics.planned({ images, nodeOSes }, 5);
    const text = await metrics.registry.metrics();
    for (const line of [
      'treeline_nodes{osimage="fleet",phase="Rebooting"} 1',
      'treeline_nodes{osimage="fleet",phase="Pending"} 1',
      'treeline_osimage_condition{osimage="fleet",condition="Ready"} 0',
      'treeline_osimage_condition{osimage="fleet",condition="Stalled"} 1',
    ])
      assert.ok(text.includes(`${line}\n`), line);
    metrics.planned({ images: [], nodeOSes: [] }, 5);
    assert.doesNotMatch(await metrics.registry.metrics(), /osimage="fleet"/);
  });
});
