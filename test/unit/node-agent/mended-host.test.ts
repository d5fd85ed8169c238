import assert from 'node:assert/strict';
import { pino } from 'pino';
import { type LastOrder, NO_ORDER } from '../../../api/index.ts';
import { failureOf } from '../../../node-agent/failure.ts';
import { HostExamination } from '../../../node-agent/host-examination.ts';
import { answerSinceMended } from '../../../node-agent/mended-host.ts';

const NOW = new Date('2026-11-30T10:00:00Z');

/** The answer to an order of a host on which something was missing. */
async function lacking(id: string): Promise<LastOrder> {
  const examination = new HostExamination({
    examine: async () => ['The host has no systemctl: it must.'],
    log: pino({ level: 'silent' }),
  });
  await examination.look();
  return { id, result: 'Failed', ...failureOf(examination.failure), completionTime: '2026-11-30T09:00:00Z' };
}

describe('the answer that a host lacks something, once it lacks nothing', () => {
  it('stays the answer to its order, and says once since when it holds no longer', async () => {
    const answered = await lacking('order-1');
    const mended = answerSinceMended(answered, NOW);
    assert.ok(mended);
    assert.deepEqual({ ...mended, message: '' }, { ...answered, reason: 'HostMended', message: '' });
    assert.ok(
      mended.message.startsWith('At 2026-11-30T10:00:00Z nothing of this was missing any more'),
      mended.message,
    );
    assert.ok(mended.message.endsWith(answered.message));
    assert.equal(answerSinceMended(mended, new Date('2026-11-30T10:01:00Z')), undefined);
  });

  it('is taken away where it answered no order', async () => {
    assert.equal(answerSinceMended(await lacking(NO_ORDER), NOW), null);
  });

  it('is never longer than the API takes', async () => {
    const long = { ...(await lacking('order-1')), message: '' };
    const message = `${(await lacking('order-1')).message}${'x'.repeat(4000)}`;
    assert.equal(answerSinceMended({ ...long, message }, NOW)?.message.length, 4096);
  });

  it('leaves all other answers as they are: a host is unsupported for other reasons, too', async () => {
    const other = { ...(await lacking('order-1')), reason: 'HostUnsupported' };
    assert.equal(answerSinceMended(other, NOW), undefined);
    assert.equal(answerSinceMended(undefined, NOW), undefined);
  });
});
