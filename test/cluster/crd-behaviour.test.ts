/** How the two resources behave on a real API server: defaults, columns, explanations, and who may write what. */
import assert from 'node:assert/strict';
import { osImageSpecSchema } from '../../api/os-image.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { must, NODE_OSES, nodeOS, OS_IMAGES, osImage, tryCreate, type Json } from './crd-objects.ts';

const NAME = 'crd-behaviour';
const metadata = { name: NAME };

interface OpenApiSchema {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, OpenApiSchema>>;
  readonly items?: OpenApiSchema;
}

/** Paths of the fields below `schema` that say nothing. */
function silentFields(schema: OpenApiSchema, path: string): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => [
    ...(field.description === undefined || field.description.length < 8 ? [`${path}.${name}`] : []),
    ...silentFields(field.items ?? field, `${path}.${name}`),
  ]);
}

describe('the two resources', () => {
  let controlPlane: ControlPlane;
  before(async () => {
    controlPlane = await sharedControlPlane();
    await must(controlPlane, { method: 'POST', path: OS_IMAGES, body: osImage({ metadata }) });
    await must(controlPlane, { method: 'POST', path: NODE_OSES, body: nodeOS({ metadata }) });
  });
  after(async () => {
    await controlPlane?.call({ method: 'DELETE', path: `${OS_IMAGES}/${NAME}` });
    await controlPlane?.call({ method: 'DELETE', path: `${NODE_OSES}/${NAME}` });
  });

  it('explain every field', async () => {
    const { body } = await must(controlPlane, { path: '/openapi/v3/apis/treeline.dev/v1alpha1' });
    const { schemas } = (body as unknown as { components: { schemas: Record<string, OpenApiSchema> } }).components;
    for (const kind of ['OSImage', 'NodeOS']) {
      const schema = schemas[`dev.treeline.v1alpha1.${kind}`];
      assert.ok(schema?.properties?.['spec']?.properties !== undefined, `${kind} is in the OpenAPI document`);
      for (const part of ['spec', 'status']) {
        const field: OpenApiSchema = schema.properties[part] ?? {};
        assert.ok((field.description ?? '').length > 8, `${kind}.${part} has a description`);
        assert.deepEqual(silentFields(field, `${kind}.${part}`), []);
      }
    }
  });

  for (const [path, words] of [
    ['osimage', /OSImage keeps the operating system of the nodes it selects/],
    ['osimage.spec.rollout.maxUnavailable', /How many selected nodes may be unavailable at once/],
    ['osi.spec.nodeSelector.matchExpressions.operator', /ENUM:\s+In\s+NotIn\s+Exists\s+DoesNotExist/],
    ['nodeos.spec.order.bootApproval', /Permission to reboot, once, into exactly this digest/],
    ['nos.status.host.staged.locked', /not finalised at shutdown until it is unlocked/],
  ] as const) {
    it(`kubectl explain ${path} says what it is`, async () => {
      assert.match((await controlPlane.kubectl(['explain', path])).replaceAll(/\n +/g, ' '), words);
    });
  }

  it('have defaults for everything that need not be said', async () => {
    const spec = { nodeSelector: {}, image: { reference: 'registry.example.org/os:1' } };
    const { body } = await tryCreate(controlPlane, OS_IMAGES, { ...osImage(), spec });
    assert.deepEqual(
      body['spec'],
      osImageSpecSchema.parse(spec),
      'the API server fills in what the schema in code does',
    );
    assert.equal(((body['spec'] as Json)['image'] as Json)['updatePolicy'], 'Manual');
    assert.equal(((body['spec'] as Json)['rollout'] as Json)['maxUnavailable'], 1);
  });

  it('keep spec and status apart: neither write touches the other', async () => {
    const path = `${OS_IMAGES}/${NAME}`;
    const before = await must(controlPlane, { path });
    const status = { observedGeneration: 7 };
    const viaSpec = await must(controlPlane, { method: 'PATCH', path, body: { status } });
    assert.equal(viaSpec.body['status'], undefined);
    const viaStatus = await must(controlPlane, {
      method: 'PATCH',
      path: `${path}/status`,
      body: { status, spec: { rollout: { paused: true } }, metadata: { labels: { sneaked: 'in' } } },
    });
    assert.deepEqual(viaStatus.body['status'], status);
    assert.deepEqual(viaStatus.body['spec'], before.body['spec']);
    const metadata = viaStatus.body['metadata'] as Json;
    assert.equal(metadata['labels'], undefined);
    assert.equal(metadata['generation'], 1, 'a status write is no new generation');
  });

  it('answer to their short names, with the columns that a person on call needs', async () => {
    const condition = {
      type: 'Ready',
      status: 'False',
      reason: 'RollingOut',
      message: 'waiting for worker-2',
      lastTransitionTime: '2026-11-23T12:00:00Z',
    };
    const counts = {
      total: 10,
      updated: 7,
      staging: 1,
      staged: 1,
      updating: 1,
      unavailable: 1,
      blocked: 0,
      failed: 0,
      excluded: 0,
    };
    const digest = `sha256:${'4f'.repeat(32)}`;
    await must(controlPlane, {
      method: 'PATCH',
      path: `${OS_IMAGES}/${NAME}/status`,
      body: {
        status: {
          target: { digest, reference: 'registry.example.org/os:1', version: '42.1' },
          nodes: { ...counts, updatedOfTotal: '7/10' },
          progress: {
            percent: 70,
            lastProgressTime: '2026-11-23T12:00:00Z',
            estimatedCompletionTime: '2026-11-23T14:00:00Z',
          },
          conditions: [condition],
        },
      },
    });
    await must(controlPlane, {
      method: 'PATCH',
      path: `${NODE_OSES}/${NAME}/status`,
      body: {
        status: {
          host: { bootID: 'b', booted: { checksum: 'a', version: '41' }, staged: { checksum: 'b', version: '42.1' } },
          rollout: { phase: 'Draining', phaseTime: '2026-11-23T12:00:00Z', message: 'two pods left' },
          lastOrder: {
            id: '1',
            result: 'Succeeded',
            reason: 'Staged',
            message: 'ok',
            completionTime: '2026-11-23T12:00:00Z',
          },
        },
      },
    });
    const images = await controlPlane.kubectl(['get', 'osi', NAME]);
    assert.match(images, /^NAME +TARGET +UPDATED +STEP +READY +REASON +ETA +AGE\n/);
    assert.match(images, /\ncrd-behaviour +42\.1 +7\/10 +False +RollingOut +2026-11-23T14:00:00Z +\d+s\n/);
    const wide = await controlPlane.kubectl(['get', 'osimages', NAME, '-o', 'wide']);
    assert.match(wide, new RegExp(`${digest} +waiting for worker-2`));
    const nodes = await controlPlane.kubectl(['get', 'nos', NAME]);
    assert.match(nodes, /^NAME +IMAGE +PHASE +BOOTED +STAGED +RESULT +AGE\n/);
    assert.match(nodes, /\ncrd-behaviour +workers +Draining +41 +42\.1 +Succeeded +\d+s\n/);
    assert.match(await controlPlane.kubectl(['get', 'nodeos', NAME, '-o', 'wide']), /two pods left/);
    const both = await controlPlane.kubectl(['get', 'treeline', '-o', 'name']);
    assert.match(both, /osimage\.treeline\.dev\/crd-behaviour/);
    assert.match(both, /nodeos\.treeline\.dev\/crd-behaviour/);
  });

  it('let kubectl wait on a condition', async () => {
    const ready = controlPlane.kubectl(['wait', '--for=condition=Ready', '--timeout=60s', `osimage/${NAME}`]);
    await must(controlPlane, {
      method: 'PATCH',
      path: `${OS_IMAGES}/${NAME}/status`,
      body: {
        status: {
          conditions: [
            {
              type: 'Ready',
              status: 'True',
              reason: 'Updated',
              message: 'all nodes',
              lastTransitionTime: '2026-11-23T12:01:00Z',
            },
          ],
        },
      },
    });
    assert.match(await ready, /condition met/);
  });

  it('refuse two conditions of one type, and a phase that does not exist', async () => {
    const condition = {
      type: 'Ready',
      status: 'True',
      reason: 'A',
      message: '',
      lastTransitionTime: '2026-11-23T12:00:00Z',
    };
    const twice = await controlPlane.call({
      method: 'PATCH',
      path: `${OS_IMAGES}/${NAME}/status`,
      body: { status: { conditions: [condition, condition] } },
    });
    assert.equal(twice.code, 422);
    assert.match(twice.message, /status\.conditions\[1\]: Duplicate value/);
    const phase = await controlPlane.call({
      method: 'PATCH',
      path: `${NODE_OSES}/${NAME}/status`,
      body: { status: { rollout: { phase: 'Dreaming', phaseTime: '2026-11-23T12:00:00Z' } } },
    });
    assert.equal(phase.code, 422);
    assert.match(phase.message, /status\.rollout\.phase: Unsupported value: "Dreaming"/);
  });

  it('refuse to move a NodeOS to another Node, and let its order change', async () => {
    const path = `${NODE_OSES}/${NAME}`;
    const moved = await controlPlane.call({ method: 'PATCH', path, body: { spec: { nodeUID: 'another' } } });
    assert.equal(moved.code, 422);
    assert.match(moved.message, /spec\.nodeUID: Invalid value: .*nodeUID cannot change/s);
    await must(controlPlane, {
      method: 'PATCH',
      path,
      body: { spec: { order: { id: '8', goal: 'Stage', bootApproval: null } } },
    });
  });

  it('drop a field that they do not know when the client does not insist', async () => {
    const { body } = await must(controlPlane, {
      method: 'PATCH',
      path: `${OS_IMAGES}/${NAME}?fieldValidation=Ignore`,
      body: { spec: { image: { unknown: 1 } } },
    });
    assert.equal((body['spec'] as { image: Json }).image['unknown'], undefined);
  });
});
