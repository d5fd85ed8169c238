import assert from 'node:assert/strict';
import type { NodeOS } from '../../../api/index.ts';
import { failureOf } from '../../../node-agent/failure.ts';
import { AgentError } from '../../../node-agent/errors.ts';
import { unreadableAnswer } from '../../../node-agent/unreadable-host.ts';

const NOW = new Date('2026-11-30T10:00:00Z');
const LATER = new Date('2026-11-30T10:01:00Z');
const lacking = (what: string) => failureOf(new AgentError('HostLacking', what));
const silent: NodeOS = {
  metadata: { name: 'n', uid: 'u', resourceVersion: '1' },
  spec: { imageName: 'i', nodeUID: 'u' },
};

describe('what is said of a host that does not let itself be read', () => {
  it('is said without an order, and again only when something else is missing', () => {
    const lastOrder = unreadableAnswer(silent, lacking('no ostree'), NOW);
    assert.ok(lastOrder !== undefined);
    assert.deepEqual([lastOrder.id, lastOrder.message], ['', 'no ostree']);
    const told: NodeOS = { ...silent, status: { lastOrder } };
    assert.equal(unreadableAnswer(told, lacking('no ostree'), LATER), undefined);
    assert.equal(unreadableAnswer(told, lacking('no systemctl'), LATER)?.message, 'no systemctl');
  });

  it('is not said without an order where the host was reported before: that would wipe out the last answer', () => {
    assert.equal(unreadableAnswer({ ...silent, status: { host: { bootID: 'b' } } }, lacking('x'), NOW), undefined);
  });
});
