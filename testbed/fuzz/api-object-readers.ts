/** How OSImages and reports of agents are read: what the schema lets through is planned, whatever it says. */
import assert from 'node:assert/strict';
import { nodeOSStatusSchema, osImageSpecSchema, osImageStatusSchema, type NodeOS } from '../../api/index.ts';
import { explainNode } from '../../operator/rollout/explain.ts';
import { plan } from '../../operator/rollout/plan.ts';
import { NOW, imageOf, nodeOf, nodeOSOf, release, snapshotOf } from '../../test/unit/rollout/fixtures.ts';
import { corpusOf } from './corpus.ts';
import { changed } from './document-targets.ts';
import { type CorpusReader, type FuzzTarget, unlessRefused } from './fuzz.ts';

/** As the API server answers, when it is no JSON or the schema does not let it through. */
const REFUSALS = ['SyntaxError', 'ZodError'];

function planned(snapshot: ReturnType<typeof snapshotOf>): void {
  for (const action of plan(snapshot, NOW).actions) {
    if (action.kind === 'WriteImageStatus') osImageStatusSchema.parse(action.status);
    if (action.kind === 'WriteRollout') nodeOSStatusSchema.partial().parse(action.status);
    if (action.kind === 'Emit') assert.ok(action.message.length <= 1024);
  }
  assert.equal(explainNode(snapshot, 'a', NOW)?.node, 'a');
}

export const API_OBJECT_READERS: Readonly<Record<string, CorpusReader>> = {
  'os-images': {
    asserts: 'it is planned and explained, and what is written about it keeps to the schema',
    refusals: REFUSALS,
    read: (input) => {
      const { object } = imageOf();
      const spec = osImageSpecSchema.parse(JSON.parse(input.toString()));
      const resolution = { state: 'Resolved', image: release('v2', spec.image.reference) } as const;
      planned(
        snapshotOf({
          images: [{ object: { ...object, spec: { ...spec, nodeSelector: {} } }, resolution }],
          nodes: [nodeOf('a'), nodeOf('b')],
          nodeOSes: [nodeOSOf('a', { staged: 'v2' }), nodeOSOf('b')],
        }),
      );
    },
  },
  'agent-reports': {
    asserts: 'it is planned and explained, and what is written about its node keeps to the schema',
    refusals: REFUSALS,
    read: (input) => {
      const { host, progress, lastOrder } = nodeOSStatusSchema.partial().parse(JSON.parse(input.toString()));
      const report = { ...(host && { host }), ...(progress && { progress }), ...(lastOrder && { lastOrder }) };
      const honest = nodeOSOf('a', { staged: 'v2', rollout: { phase: 'AwaitingSlot' } });
      const liar = { ...honest, status: { ...honest.status, ...report } } as NodeOS;
      planned(snapshotOf({ images: [imageOf()], nodes: [nodeOf('a'), nodeOf('b')], nodeOSes: [liar, nodeOSOf('b')] }));
    },
  },
};

/** Objects with members changed, removed and doubled: damage to their bytes mostly ends in what is no JSON. */
export const API_OBJECT_TARGETS: readonly FuzzTarget[] = Object.entries(API_OBJECT_READERS).map(([name, { read }]) => {
  const valid = corpusOf(name).filter(({ is }) => is === 'taken');
  return {
    name,
    round: (random) => {
      const object: unknown = JSON.parse(random.pick(valid).bytes.toString());
      return unlessRefused(REFUSALS, () => read(Buffer.from(JSON.stringify(changed(random, object)) ?? '')));
    },
  };
});
