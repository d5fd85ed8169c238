/** Which pods are asked to leave, and how the Eviction API's answers read. The messages are those of kube-apiserver 1.36. */
import assert from 'node:assert/strict';
import { isTerminating, podsToLeave, readEvictionError } from '../../../operator/drain/eviction.ts';
import { KubeError } from '../../../operator/errors.ts';
import { errorFromResponse } from '../../../operator/kube/status.ts';
import type { Pod } from '../../../operator/kube/objects.ts';

const pod = (name: string, metadata: Partial<Pod['metadata']> = {}, phase = 'Running'): Pod => ({
  metadata: { name, namespace: 'shop', uid: `uid-${name}`, resourceVersion: '1', ...metadata },
  status: { phase },
});
const owner = (kind: string) => [{ apiVersion: 'apps/v1', kind, name: 'x', uid: 'y', controller: true }];

const status = (code: number, body: object) =>
  errorFromResponse(
    code,
    JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code, ...body }),
    'POST',
  );

const REFUSED = status(429, {
  message: "Cannot evict pod as it would violate the pod's disruption budget.",
  reason: 'TooManyRequests',
  details: {
    causes: [
      { reason: 'DisruptionBudget', message: 'The disruption budget web needs 2 healthy pods and has 2 currently' },
    ],
  },
});

describe('a drain', () => {
  it('asks pods of ReplicaSets and bare pods to leave, and no pod of a DaemonSet, mirror pod or finished pod', () => {
    const pods = [
      pod('web', { ownerReferences: owner('ReplicaSet') }),
      pod('bare'),
      pod('log-agent', { ownerReferences: owner('DaemonSet') }),
      pod('kube-proxy', { annotations: { 'kubernetes.io/config.mirror': 'abc' } }),
      pod('job-done', {}, 'Succeeded'),
      pod('job-broken', {}, 'Failed'),
      pod('leaving', { deletionTimestamp: '2026-01-01T00:00:00Z' }),
    ];
    assert.deepEqual(
      podsToLeave(pods).map((one) => one.metadata.name),
      ['web', 'bare', 'leaving'],
    );
    assert.deepEqual(podsToLeave(pods).map(isTerminating), [false, false, true]);
  });

  it('quotes a refusal word for word, with the name of the budget', () => {
    assert.deepEqual(readEvictionError(REFUSED), {
      kind: 'Refused',
      budget: 'web',
      message:
        "Cannot evict pod as it would violate the pod's disruption budget. The disruption budget web needs 2 healthy pods and has 2 currently",
    });
  });

  it('reads a budget that the server has not looked at yet as a refusal', () => {
    const answer = readEvictionError(
      status(429, {
        message: "Cannot evict pod as it would violate the pod's disruption budget.",
        details: {
          causes: [
            { reason: 'DisruptionBudget', message: 'The disruption budget db is still being processed by the server.' },
          ],
          retryAfterSeconds: 10,
        },
      }),
    );
    assert.equal(answer.kind === 'Refused' && answer.budget, 'db');
  });

  it('reads two budgets over one pod as a refusal, for it never passes by itself', () => {
    const message = 'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.';
    assert.deepEqual(readEvictionError(status(500, { message })), { kind: 'Refused', message });
  });

  it('does not take a throttled or lost request for a refusal', () => {
    const throttled = status(429, { message: 'too many requests, please try again later', reason: 'TooManyRequests' });
    assert.deepEqual(readEvictionError(throttled), { kind: 'Unanswered' });
    assert.deepEqual(readEvictionError(status(503, { message: 'etcd leader changed' })), { kind: 'Unanswered' });
    assert.deepEqual(readEvictionError(new KubeError('Unreachable', 'refused')), { kind: 'Unanswered' });
    assert.deepEqual(readEvictionError(new TypeError('a bug')), { kind: 'Unanswered' });
  });

  it('takes a pod that is gone, or another one by now, for gone', () => {
    assert.deepEqual(readEvictionError(status(404, { reason: 'NotFound' })), { kind: 'Gone' });
    assert.deepEqual(readEvictionError(status(409, { reason: 'Conflict' })), { kind: 'Gone' });
  });
});

describe('an error of the API server', () => {
  it('carries its own sentence, code and reason', () => {
    assert.equal(REFUSED.code, 'TooManyRequests');
    assert.equal(REFUSED.message, "Cannot evict pod as it would violate the pod's disruption budget.");
    assert.equal(status(409, { reason: 'AlreadyExists', message: 'x' }).code, 'AlreadyExists');
    assert.equal(status(410, { reason: 'Expired', message: 'too old resource version: 1 (2)' }).code, 'Gone');
  });

  it('says when to come back, as API priority and fairness does in a header', () => {
    const error = errorFromResponse(429, 'Too many requests, please try again later.\n', 'GET /x', '1');
    assert.deepEqual([error.code, error.retryAfterSeconds], ['TooManyRequests', 1]);
  });

  it('that is no Status is quoted, shortened', () => {
    const error = errorFromResponse(502, `<html>${'bad gateway '.repeat(100)}`, 'GET /api/v1/nodes');
    assert.equal(error.code, 'Unavailable');
    assert.match(error.message, /^GET \/api\/v1\/nodes: HTTP 502: <html>bad gateway/);
    assert.ok(error.message.length < 260);
  });
});
