/**
 * Turns the zod schemas into CustomResourceDefinitions, so that types, parsers and CRDs cannot drift apart.
 * A structural schema (Kubernetes "Specify a structural schema") knows less than JSON Schema: what it forbids is removed here.
 */
import * as z from 'zod';
import { GROUP, VERSION } from './constants.ts';
import { nodeOSSpecSchema, nodeOSStatusSchema } from './node-os.ts';
import { osImageBuildSpecSchema, osImageBuildStatusSchema } from './os-image-build.ts';
import { osImageStatusSchema } from './os-image-status.ts';
import { osImageSpecSchema } from './os-image.ts';

type Json = { [key: string]: unknown };

interface PrinterColumn {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date';
  readonly jsonPath: string;
  readonly description: string;
  readonly priority?: number;
}

interface Kind {
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortName: string;
  readonly description: string;
  readonly spec: z.ZodType;
  readonly status: z.ZodType;
  readonly columns: readonly PrinterColumn[];
}

const AGE: PrinterColumn = {
  name: 'Age',
  type: 'date',
  jsonPath: '.metadata.creationTimestamp',
  description: 'Time since creation.',
};

export const OS_IMAGE_KIND: Kind = {
  kind: 'OSImage',
  plural: 'osimages',
  singular: 'osimage',
  shortName: 'osi',
  description: 'OSImage keeps the operating system of the nodes it selects on one OSTree container image.',
  spec: osImageSpecSchema,
  status: osImageStatusSchema,
  columns: [
    { name: 'Target', type: 'string', jsonPath: '.status.target.version', description: 'Version being rolled out.' },
    { name: 'Updated', type: 'string', jsonPath: '.status.nodes.updatedOfTotal', description: 'Updated nodes of all.' },
    {
      name: 'Step',
      type: 'string',
      jsonPath: '.status.step.summary',
      description: 'The canary or wave that is under way.',
    },
    {
      name: 'Ready',
      type: 'string',
      jsonPath: '.status.conditions[?(@.type=="Ready")].status',
      description: 'All selected nodes are on the target.',
    },
    {
      name: 'Reason',
      type: 'string',
      jsonPath: '.status.conditions[?(@.type=="Ready")].reason',
      description: 'Why it is Ready, or not.',
    },
    {
      name: 'ETA',
      type: 'string',
      jsonPath: '.status.progress.estimatedCompletionTime',
      description: 'When all nodes will be updated, by what was measured.',
    },
    {
      name: 'Digest',
      type: 'string',
      jsonPath: '.status.target.digest',
      description: 'Digest being rolled out.',
      priority: 1,
    },
    {
      name: 'Message',
      type: 'string',
      jsonPath: '.status.conditions[?(@.type=="Ready")].message',
      description: 'What the fleet waits for.',
      priority: 1,
    },
    AGE,
  ],
};

export const NODE_OS_KIND: Kind = {
  kind: 'NodeOS',
  plural: 'nodeoses',
  singular: 'nodeos',
  shortName: 'nos',
  description: "NodeOS is one node's rebase order and what that node's agent reports.",
  spec: nodeOSSpecSchema,
  status: nodeOSStatusSchema,
  columns: [
    { name: 'Image', type: 'string', jsonPath: '.spec.imageName', description: 'OSImage that rules the node.' },
    {
      name: 'Phase',
      type: 'string',
      jsonPath: '.status.rollout.phase',
      description: 'Where the node is in the rollout.',
    },
    { name: 'Booted', type: 'string', jsonPath: '.status.host.booted.version', description: 'Version that runs.' },
    {
      name: 'Staged',
      type: 'string',
      jsonPath: '.status.host.staged.version',
      description: 'Version staged for the next boot.',
    },
    { name: 'Result', type: 'string', jsonPath: '.status.lastOrder.result', description: 'How the last order ended.' },
    {
      name: 'Message',
      type: 'string',
      jsonPath: '.status.rollout.message',
      description: 'What the node waits for.',
      priority: 1,
    },
    AGE,
  ],
};

export const OS_IMAGE_BUILD_KIND: Kind = {
  kind: 'OSImageBuild',
  plural: 'osimagebuilds',
  singular: 'osimagebuild',
  shortName: 'osib',
  description: 'OSImageBuild makes the image of an operating system and pushes it to a registry.',
  spec: osImageBuildSpecSchema,
  status: osImageBuildStatusSchema,
  columns: [
    { name: 'Destination', type: 'string', jsonPath: '.spec.destination', description: 'Where the image is pushed.' },
    { name: 'Phase', type: 'string', jsonPath: '.status.phase', description: 'What the build does.' },
    {
      name: 'Ready',
      type: 'string',
      jsonPath: '.status.conditions[?(@.type=="Ready")].status',
      description: 'The image is the one that the spec describes.',
    },
    { name: 'Digest', type: 'string', jsonPath: '.status.digest', description: 'Digest of the image.', priority: 1 },
    {
      name: 'Message',
      type: 'string',
      jsonPath: '.status.conditions[?(@.type=="Ready")].message',
      description: 'What it waits for, or why it failed.',
      priority: 1,
    },
    AGE,
  ],
};

/** Returns the CustomResourceDefinition of `kind` as a plain object, ready to be written as YAML. */
export function customResourceDefinition(kind: Kind): Json {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${kind.plural}.${GROUP}` },
    spec: {
      group: GROUP,
      scope: 'Cluster',
      names: {
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural: kind.plural,
        singular: kind.singular,
        shortNames: [kind.shortName],
        categories: ['treeline'],
      },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: kind.columns,
          schema: {
            openAPIV3Schema: {
              type: 'object',
              description: kind.description,
              required: ['spec'],
              properties: { spec: structural(kind.spec, 'input'), status: structural(kind.status, 'output') },
            },
          },
        },
      ],
    },
  };
}

function structural(schema: z.ZodType, io: 'input' | 'output'): unknown {
  const generated = z.toJSONSchema(schema, {
    target: 'openapi-3.0',
    io,
    override: ({ jsonSchema }) => {
      const node = jsonSchema as Json;
      // The API server prunes unknown fields by itself and refuses these keywords beside `properties`.
      if (node['additionalProperties'] === false) delete node['additionalProperties'];
      delete node['propertyNames'];
      delete node['$schema'];
      // zod writes the bounds of a JavaScript safe integer, which say nothing to a user.
      if (node['minimum'] === Number.MIN_SAFE_INTEGER) delete node['minimum'];
      if (node['maximum'] === Number.MAX_SAFE_INTEGER) delete node['maximum'];
      if (node['type'] === 'integer') node['format'] ??= 'int64';
      // `date-time` is checked by the API server; zod's own pattern is a wall of text in `kubectl explain`.
      if (node['format'] === 'date-time') delete node['pattern'];
      const branches = node['anyOf'];
      if (Array.isArray(branches)) {
        delete node['anyOf'];
        node['x-kubernetes-int-or-string'] = true;
      }
      // A string with `enum` needs no length; a free one without a bound costs CEL its budget.
    },
  });
  return withoutKey(generated, '$schema');
}

function withoutKey(value: unknown, key: string): unknown {
  if (Array.isArray(value)) return value.map((item) => withoutKey(item, key));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => name !== key)
      .map(([name, item]) => [name, withoutKey(item, key)]),
  );
}
