/** Objects as large as the API server lets them be: the planner answers, and what it writes is within the same bounds. */
import assert from 'node:assert/strict';
import {
  customResourceDefinition,
  NODE_OS_KIND,
  nodeOSStatusSchema,
  OS_IMAGE_KIND,
  osImageStatusSchema,
  type NodeOS,
  type OSImage,
} from '../../../api/index.ts';
import { explainNode } from '../../../operator/rollout/explain.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { Snapshot } from '../../../operator/rollout/snapshot.ts';
import { NOW, nodeOSOf, nodeOf, release, snapshotOf } from './fixtures.ts';

/** As much of a structural schema (apiextensions.k8s.io/v1) as makes a value. */
interface Schema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly maxProperties?: number;
  readonly items?: Schema;
  readonly maxItems?: number;
  readonly enum?: readonly unknown[];
  readonly format?: string;
  readonly maxLength?: number;
  readonly maximum?: number;
  readonly 'x-kubernetes-int-or-string'?: boolean;
}

/** The largest value that the schema lets through; each item of a list and each key of a map is another. */
function largest(schema: Schema, number = 0): unknown {
  if (schema['x-kubernetes-int-or-string'] === true) return '100%';
  if (schema.enum !== undefined) return schema.enum.at(-1);
  switch (schema.type) {
    case 'object':
      return {
        ...Object.fromEntries(
          Object.entries(schema.properties ?? {}).map(([name, property]) => [name, largest(property, number)]),
        ),
        ...(schema.additionalProperties !== undefined &&
          Object.fromEntries(
            Array.from({ length: schema.maxProperties ?? 0 }, (_, at) => [
              `${at}`.padEnd(63, 'k'),
              largest(schema.additionalProperties ?? {}, at),
            ]),
          )),
      };
    case 'array':
      return Array.from({ length: schema.maxItems ?? 1 }, (_, at) => largest(schema.items ?? {}, at));
    case 'string':
      if (schema.format === 'date-time') return '2026-11-23T11:00:00Z';
      return `${number}`.padEnd(schema.maxLength ?? 1, '\u20ac');
    case 'boolean':
      return true;
    default:
      return schema.maximum ?? 2 ** 31 - 1;
  }
}

function schemaOf(kind: Parameters<typeof customResourceDefinition>[0]): Schema {
  const definition = customResourceDefinition(kind) as unknown as {
    spec: { versions: { schema: { openAPIV3Schema: Schema } }[] };
  };
  return definition.spec.versions[0]?.schema.openAPIV3Schema ?? assert.fail('no schema');
}

const IMAGE = largest(schemaOf(OS_IMAGE_KIND)) as Pick<OSImage, 'spec' | 'status'>;
const { host, progress, lastOrder } = (largest(schemaOf(NODE_OS_KIND)) as Pick<NodeOS, 'status'>).status ?? {};
/** All that an agent may write. */
const REPORT: NodeOS['status'] = {
  ...(host && { host }),
  ...(progress && { progress }),
  ...(lastOrder && { lastOrder }),
};

/** Three nodes, each in another phase, whose agents have said as much as they can. */
function snapshot(change: Partial<OSImage['spec']> = {}): Snapshot {
  const nodes = ['a', 'b', 'c'].map((name) => nodeOf(name));
  const object: OSImage = {
    metadata: { name: 'fleet', uid: 'image-fleet', resourceVersion: '1', generation: 1 },
    spec: { ...IMAGE.spec, nodeSelector: {}, ...change },
  };
  const rollouts = [
    { phase: 'Staging', stagingTime: '2026-11-23T11:00:00Z' },
    { phase: 'AwaitingSlot' },
    { phase: 'Rebooting', slotTime: '2026-11-23T11:00:00Z', preBootID: 'x', rebootDeadline: '2026-11-23T13:00:00Z' },
  ] as const;
  return snapshotOf({
    images: [{ object, resolution: { state: 'Resolved', image: release('v2', object.spec.image.reference) } }],
    nodes,
    nodeOSes: nodes.map(({ name }, at) => {
      const plain = nodeOSOf(name, { staged: 'v2', rollout: rollouts[at] ?? {} });
      return { ...plain, status: { ...plain.status, ...REPORT } };
    }),
  });
}

describe('Objects as large as the API server lets them be', () => {
  const written = (of: Snapshot) => {
    const { actions } = plan(of, NOW);
    for (const action of actions) {
      if (action.kind === 'WriteImageStatus') osImageStatusSchema.parse(action.status);
      if (action.kind === 'WriteRollout') nodeOSStatusSchema.partial().parse(action.status);
      if (action.kind === 'Emit') assert.ok(action.message.length <= 1024);
    }
    return actions;
  };

  it('are planned, and every status that is written is within the bounds of its schema', () => {
    assert.ok(JSON.stringify(IMAGE.spec).length > 1_500_000, 'more than etcd takes');
    assert.ok(JSON.stringify(REPORT).length > 10_000);
    assert.ok(written(snapshot()).length > 0);
  });

  it('are planned where what they say makes sense, but for the lengths', () => {
    const windows = IMAGE.spec.windows.map((window, at) => ({
      ...window,
      schedule: `${Array.from({ length: 40 }, (_, minute) => (minute + at) % 60).join(',')} * * * *`,
      timeZone: 'America/St_Johns',
    }));
    const freezes = IMAGE.spec.freezes.map((freeze) => ({ ...freeze, end: '2026-11-23T11:30:00Z' }));
    assert.ok(windows.length > 1 && freezes.length > 1);
    assert.ok(written(snapshot({ windows, freezes })).length > 0);
  });

  it('are explained', () => {
    const told = explainNode(snapshot(), 'a', NOW);
    assert.equal(told?.node, 'a');
  });
});
