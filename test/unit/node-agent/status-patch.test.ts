import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import type { NodeOSStatus } from '../../../api/index.ts';
import { type AgentStatus, statusPatch } from '../../../node-agent/status-patch.ts';
import { merge } from './merge-patch.ts';

/** As it comes from JSON: no null prototypes. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe('the patch of a status', () => {
  const deployment = fc.record(
    { checksum: fc.constantFrom('1', '2'), digest: fc.constantFrom('a', 'b'), locked: fc.boolean() },
    { requiredKeys: ['checksum'] },
  );
  const host = fc.record(
    { bootID: fc.constantFrom('x', 'y'), booted: deployment, staged: deployment, freeBytes: fc.nat(2) },
    { requiredKeys: ['bootID'] },
  );
  const progress = fc.record({
    stage: fc.constant('Pulling' as const),
    layersDone: fc.nat(2),
    layersTotal: fc.nat(2),
    bytesDone: fc.nat(2),
    bytesTotal: fc.nat(2),
  });
  const lastOrder = fc.record({
    id: fc.constantFrom('1', '2'),
    result: fc.constant('Failed' as const),
    reason: fc.constantFrom('A', 'B'),
    message: fc.constant(''),
    completionTime: fc.constant(''),
  });
  const rollout = fc.constant({ phase: 'Staging', phaseTime: 't' } as const);
  const known = fc.record({ host, progress, lastOrder, rollout }, { requiredKeys: [] });
  const wanted = fc.record({ host, progress: fc.option(progress), lastOrder }, { requiredKeys: [] });

  it('makes the API say what is wanted, leaves the rest alone, and is nothing when nothing changes', () => {
    fc.assert(
      fc.property(known, wanted, (anyStatus, anyWish) => {
        const from = plain(anyStatus) as NodeOSStatus;
        const to = plain(anyWish) as AgentStatus;
        const patch = statusPatch(from, to) as { status: Record<string, unknown> } | undefined;
        const result = merge(from, patch?.status ?? {}) as NodeOSStatus;
        const expected: Record<string, unknown> = { ...from, ...to };
        if (expected['progress'] === null) delete expected['progress'];
        assert.deepEqual(result, expected);
        assert.ok(Object.keys(patch?.status ?? {}).every((key) => key in to));
        assert.equal(statusPatch(result, to), undefined);
      }),
    );
  });
});
