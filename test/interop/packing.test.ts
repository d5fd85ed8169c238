import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { keepBaseline } from '../../ostree/chunking/baseline-previous.ts';
import { packBaseline } from '../../ostree/chunking/baseline.ts';
import type { Component } from '../../ostree/chunking/component.ts';
import { pack } from '../../ostree/chunking/pack.ts';
import { ensurePeerPacking, sayOnStandardError } from '../../tools/setup/index.ts';
import { component, componentSets } from '../unit/ostree-chunking/components.ts';

type Bins = readonly (readonly string[])[];

/** What the peer's program reads: its source tells more. */
interface Task {
  readonly maxLayers: number;
  readonly components: readonly Component[];
  readonly previous?: Bins;
}

type Answer = { readonly bins: Bins } | { readonly refused: string } | { readonly panic: true };

/** How the crate writes components down. */
interface ContentSource {
  readonly identifier: string;
  readonly name: string;
  readonly srcid: string;
  readonly change_time_offset: number;
  readonly change_frequency: number;
  readonly size: number;
}

const RUNS = Number(process.env['TREELINE_PROPERTY_RUNS'] ?? 300);

describe('the base-line packing and ostree-ext', function () {
  this.timeout(600_000);
  let program: string;
  let fedora: readonly Component[];

  before(async () => {
    const peer = await ensurePeerPacking(sayOnStandardError);
    program = peer.program;
    const text = gunzipSync(readFileSync(peer.components)).toString();
    fedora = (JSON.parse(text) as readonly ContentSource[]).map((one) =>
      component(one.identifier, {
        name: one.name,
        source: one.srcid,
        changeTimeOffset: one.change_time_offset,
        changeFrequency: one.change_frequency,
        size: one.size,
      }),
    );
  });

  it('divide Fedora CoreOS alike, into any number of layers', () => {
    assert.ok(fedora.length > 300);
    const limits = Array.from({ length: 125 }, (_, index) => index + 4);
    const answers = ask(limits.map((maxLayers) => ({ maxLayers, components: fedora })));
    for (const [index, maxLayers] of limits.entries()) {
      assert.deepEqual({ bins: ours(fedora, maxLayers) }, answers[index], `${maxLayers} layers`);
    }
  });

  it('refuse as few layers', () => {
    assert.ok('refused' in (ask([{ maxLayers: 3, components: fedora }])[0] ?? {}));
    assert.throws(() => pack(fedora, { maxLayers: 3, algorithm: 'baseline' }), { code: 'InvalidData' });
  });

  it('divide any components alike', () => {
    let panics = 0;
    const sets = fc.tuple(componentSets(250), fc.integer({ min: 4, max: 70 }));
    for (const [maxLayers, components, answer] of sampled(sets)) {
      if ('panic' in answer) panics++;
      else
        assert.deepEqual(
          { bins: ours(components, maxLayers) },
          answer,
          `${components.length} components in ${maxLayers} layers`,
        );
    }
    assert.ok(panics < RUNS / 3, `the peer panicked in ${panics} cases of ${RUNS}`);
  });

  it('keep the same layout when packages come and go', () => {
    const cases = fc.sample(
      fc.tuple(componentSets(150), fc.integer({ min: 4, max: 70 })).chain(([components, maxLayers]) =>
        fc.record({
          maxLayers: fc.constant(maxLayers),
          before: fc.subarray([...components], { minLength: Math.min(1, components.length) }),
          components: fc.subarray([...components], { minLength: Math.min(1, components.length) }),
        }),
      ),
      RUNS,
    );
    const tasks = cases
      .map(({ maxLayers, before, components }) => ({
        maxLayers,
        components: sort(components),
        previous: ours(before, maxLayers),
      }))
      .filter(({ previous }) => previous.length > 0);
    for (const [index, answer] of ask(tasks).entries()) {
      const { maxLayers, components, previous } = tasks[index] as Required<Task>;
      const kept = keepBaseline(components, previous, maxLayers)?.map((bin) => bin.map(({ name }) => name));
      assert.ok('bins' in answer, JSON.stringify(answer));
      // We leave out layers that have become empty.
      assert.deepEqual(withoutEmpty(kept ?? []), withoutEmpty(answer.bins));
    }
    assert.ok(tasks.length > 0);
  });

  function* sampled(
    sets: fc.Arbitrary<[readonly Component[], number]>,
  ): Generator<readonly [number, readonly Component[], Answer]> {
    const tasks = fc
      .sample(sets, RUNS)
      .map(([components, maxLayers]): Task => ({ maxLayers, components: sort(components) }));
    for (const [index, answer] of ask(tasks).entries()) {
      const task = tasks[index];
      if (task !== undefined) yield [task.maxLayers, task.components, answer];
    }
  }

  function ask(tasks: readonly Task[]): readonly Answer[] {
    const input = tasks.map((task) => `${JSON.stringify(inWordsOfThePeer(task))}\n`).join('');
    const { status, stdout, stderr } = spawnSync(program, { input, encoding: 'utf8', maxBuffer: 2 ** 30 });
    assert.equal(status, 0, stderr);
    return stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Answer);
  }
});

function ours(components: readonly Component[], maxLayers: number): Bins {
  return packBaseline(sort(components), maxLayers).map((bin) => bin.map(({ name }) => name));
}

/** As the peer expects it of its callers. */
function sort(components: readonly Component[]): readonly Component[] {
  return components.toSorted((a, b) => b.size - a.size);
}

function withoutEmpty(bins: Bins): Bins {
  return bins.filter((bin) => bin.length > 0);
}

function inWordsOfThePeer({ maxLayers, components, previous }: Task): unknown {
  return {
    maxLayers,
    components: components.map((one): ContentSource => ({
      identifier: one.id,
      name: one.name,
      srcid: one.source,
      change_time_offset: one.changeTimeOffset,
      change_frequency: one.changeFrequency,
      size: one.size,
    })),
    previous: previous === undefined ? undefined : manifestOf(previous),
  };
}

function manifestOf(layout: Bins): unknown {
  const digest = `sha256:${'0'.repeat(64)}`;
  const descriptor = (mediaType: string, components?: readonly string[]) => ({
    mediaType: `application/vnd.oci.image.${mediaType}`,
    digest,
    size: 1,
    ...(components !== undefined && { annotations: { 'ostree.components': components.join(',') } }),
  });
  const layers = layout.map((names) => descriptor('layer.v1.tar+gzip', names));
  return {
    schemaVersion: 2,
    config: descriptor('config.v1+json'),
    layers: [descriptor('layer.v1.tar+gzip'), ...layers],
  };
}
