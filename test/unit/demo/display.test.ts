import assert from 'node:assert/strict';
import { stripVTControlCharacters } from 'node:util';
import { describeChanges, Display, renderTable } from '../../../demo/display.ts';
import { viewFleet } from '../../../demo/fleet-view.ts';
import type { FleetView, NodeObject } from '../../../demo/fleet-view.ts';
import type { NodeOS, OSImage } from '../../../api/index.ts';

const DIGEST = `sha256:${'2'.repeat(64)}`;
const node: FleetView['nodes'][number] = {
  name: 'node-1',
  state: 'Ready',
  phase: 'Staging',
  pull: '41 % of 90.4 MB',
  staged: '',
  booted: '1',
};
const view: FleetView = { target: '2', updatedOfTotal: '0/1', waitingFor: 'node-1 fetches it.', nodes: [node] };

describe('The view of a fleet', () => {
  const nodes = new Map<string, NodeObject>([
    [
      'node-1',
      {
        metadata: { name: 'node-1' },
        spec: { unschedulable: true },
        status: { conditions: [{ type: 'Ready', status: 'False' }] },
      },
    ],
  ]);

  it('shows the phase, the pull, what is staged and booted, by version where it is known', () => {
    const nodeOS = {
      metadata: { name: 'node-1' },
      spec: { imageName: 'fleet', nodeUID: 'u' },
      status: {
        host: {
          bootID: 'b',
          booted: { digest: `sha256:${'a'.repeat(64)}`, checksum: 'c' },
          staged: { digest: DIGEST, checksum: 'd', locked: true },
        },
        progress: { stage: 'Pulling', layersDone: 0, layersTotal: 1, bytesDone: 41, bytesTotal: 100 },
        rollout: { phase: 'Staging', phaseTime: '2026-01-01T00:00:00Z' },
      },
    } as NodeOS;
    const [shown] = viewFleet(
      { image: undefined, nodeOSes: new Map([['node-1', nodeOS]]), nodes },
      new Map([[DIGEST, '2']]),
    ).nodes;
    assert.deepEqual(shown, {
      name: 'node-1',
      state: 'NotReady,cordoned',
      phase: 'Staging',
      pull: '41 % of 0.1 kB',
      staged: '2 (locked)',
      booted: 'aaaaaaaa',
    });
  });

  it('says what the fleet waits for: the first blocker, else the condition that is in progress', () => {
    const image = (status: unknown) => ({ metadata: { name: 'fleet' }, spec: {}, status }) as OSImage;
    const conditions = [{ type: 'Progressing', status: 'True', message: 'It moves.' }];
    const sentence = (status: unknown) =>
      viewFleet({ image: image(status), nodeOSes: new Map(), nodes }, new Map()).waitingFor;
    assert.equal(sentence({ conditions, blockers: [{ message: 'A pod may not leave.' }] }), 'A pod may not leave.');
    assert.equal(sentence({ conditions }), 'It moves.');
    assert.equal(sentence({}), 'The operator has not looked at the OSImage yet.');
  });
});

describe('The display of a rollout', () => {
  it('aligns the columns of its table under their titles', () => {
    assert.deepEqual(renderTable(view), [
      'Target: version 2, 0/1 updated',
      'NODE     STATE   PHASE     PULL              STAGED   BOOTED',
      'node-1   Ready   Staging   41 % of 90.4 MB            1',
      '→ node-1 fetches it.',
    ]);
  });

  it('writes one plain line for each thing that changed, and nothing when nothing did', () => {
    assert.deepEqual(describeChanges(undefined, view), [
      'node-1: Staging, Ready, pull 41 % of 90.4 MB, booted 1',
      '→ node-1 fetches it.',
    ]);
    assert.deepEqual(describeChanges(view, view), []);
    const after = { ...view, nodes: [{ ...node, phase: 'Staged', pull: '' }] };
    assert.deepEqual(describeChanges(view, after), ['node-1: Staged, Ready, booted 1']);
  });

  it('redraws a terminal in place, never wider than it is', () => {
    const written: string[] = [];
    const display = new Display({ isTTY: true, columns: 30, write: (text: string) => written.push(text) });
    display.update(view);
    display.end();
    const [drawn = ''] = written;
    const lines = stripVTControlCharacters(drawn).trimEnd().split('\n');
    assert.equal(lines.length, 4);
    assert.ok(
      lines.every((line) => line.length <= 30),
      lines.join('\n'),
    );

    display.update(view);
    display.say('A sentence.');
    assert.ok(
      written.some((text) => text.startsWith('\u001B[4A')),
      'the four lines of the table were not taken back',
    );
  });
});
