/** What every field of both resources must have, whoever adds it. */
import assert from 'node:assert/strict';
import { parse } from 'yaml';
import {
  customResourceDefinition,
  NODE_OS_KIND,
  nodeOSSpecSchema,
  nodeOSStatusSchema,
  OS_IMAGE_KIND,
  osImageSpecSchema,
} from '../../../api/index.ts';
import { NODE_OS_EXAMPLE, OS_IMAGE_EXAMPLE } from '../../../tools/reference-examples.ts';

interface Schema {
  readonly [keyword: string]: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly additionalProperties?: Schema | boolean;
}

interface Field {
  readonly path: string;
  readonly schema: Schema;
}

function fieldsOf(schema: Schema, path: string): Field[] {
  const below = [
    ...Object.entries(schema.properties ?? {}).flatMap(([name, field]) => fieldsOf(field, `${path}.${name}`)),
    ...(schema.items === undefined ? [] : fieldsOf(schema.items, `${path}[]`)),
    ...(typeof schema.additionalProperties === 'object' ? fieldsOf(schema.additionalProperties, `${path}{}`) : []),
  ];
  return [{ path, schema }, ...below];
}

const FIELDS = [OS_IMAGE_KIND, NODE_OS_KIND].flatMap((kind) => {
  const { spec } = customResourceDefinition(kind) as {
    spec: { versions: [{ schema: { openAPIV3Schema: Schema } }] };
  };
  return fieldsOf(spec.versions[0].schema.openAPIV3Schema, kind.kind);
});

function offenders(isBad: (schema: Schema) => boolean): string[] {
  return FIELDS.filter(({ schema }) => isBad(schema)).map(({ path }) => path);
}

describe('every field of the resources', () => {
  it('is looked at by these tests', () => assert.ok(FIELDS.length > 100));

  it('says what it is', () => {
    const named = FIELDS.filter(({ path }) => /\.\w+$/.test(path));
    assert.deepEqual(
      named.filter(({ schema }) => typeof schema['description'] !== 'string').map(({ path }) => path),
      [],
    );
  });

  it('is bounded: a list in items, a map in members, a text in characters', () => {
    assert.deepEqual(
      offenders(({ type, maxItems }) => type === 'array' && maxItems === undefined),
      [],
    );
    assert.deepEqual(
      offenders((schema) => typeof schema.additionalProperties === 'object' && schema['maxProperties'] === undefined),
      [],
    );
    assert.deepEqual(
      offenders(
        (schema) =>
          schema['type'] === 'string' &&
          schema['maxLength'] === undefined &&
          schema['enum'] === undefined &&
          schema['format'] !== 'date-time' &&
          !String(schema['pattern']).startsWith('^sha256:'),
      ),
      [],
    );
  });

  it('tells how two writers share it, when it is a list', () => {
    assert.deepEqual(
      offenders((schema) => schema['type'] === 'array' && schema['x-kubernetes-list-type'] === undefined),
      [],
    );
  });

  it('has only what a structural schema may have', () => {
    const forbidden = ['$schema', '$ref', 'definitions', 'anyOf', 'const', 'propertyNames', 'exclusiveMinimum'];
    assert.deepEqual(
      offenders((schema) => forbidden.some((keyword) => keyword in schema) || schema.additionalProperties === false),
      [],
    );
  });
});

describe('the schemas in code', () => {
  it('accept the examples of the reference pages', () => {
    osImageSpecSchema.parse((parse(OS_IMAGE_EXAMPLE) as { spec: unknown }).spec);
    nodeOSSpecSchema.parse((parse(NODE_OS_EXAMPLE) as { spec: unknown }).spec);
  });

  it('fill in the defaults that the API server fills in', () => {
    const spec = osImageSpecSchema.parse({ nodeSelector: {}, image: { reference: 'registry.example.org/os:1' } });
    assert.deepEqual(spec.rollout, {
      paused: false,
      maxUnavailable: 1,
      maxBlocked: '10%',
      onFailure: 'Halt',
      steps: [],
      topology: [],
      order: { controlPlane: 'Last', by: [] },
      progressDeadlineSeconds: 3600,
    });
    assert.deepEqual(spec.reboot, { timeoutSeconds: 900 });
    assert.deepEqual(spec.health, { minReadySeconds: 0, checks: [], gates: [] });
    assert.equal(spec.image.updatePolicy, 'Manual');
  });

  it('have no status field of a NodeOS that is neither the agent’s nor guarded against it', () => {
    // agent-own-node-policy.yaml names the fields that an agent may not change; a new one must be put on a side.
    const agent = ['host', 'progress', 'lastOrder'];
    const operator = ['rollout', 'conditions'];
    assert.deepEqual(Object.keys(nodeOSStatusSchema.shape).toSorted(), [...agent, ...operator].toSorted());
  });
});
