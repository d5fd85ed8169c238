import assert from 'node:assert/strict';
import { apiServersByNode, trimApiServerPod } from '../../../operator/kube/api-server-pods.ts';

const pod = (name: string, nodeName: string | undefined, status: string | undefined) =>
  trimApiServerPod({
    metadata: { name, uid: name, resourceVersion: '1', labels: { component: 'kube-apiserver' } },
    spec: { nodeName, containers: [{ name: 'kube-apiserver' }] },
    status: { phase: 'Running', conditions: status === undefined ? [] : [{ type: 'Ready', status }] },
  });

describe('API servers that run as pods', () => {
  it('are Ready when their condition says so, and not before it says anything', () => {
    const pods = [
      pod('p1', 'c1', 'True'),
      pod('p2', 'c2', 'False'),
      pod('p3', 'c3', undefined),
      pod('p4', undefined, 'True'),
    ];
    assert.deepEqual(
      [...apiServersByNode(pods)],
      [
        ['c1', true],
        ['c2', false],
        ['c3', false],
      ],
    );
  });

  it('of one node are Ready together', () => {
    for (const pair of [
      ['True', 'False'],
      ['False', 'True'],
    ]) {
      const pods = pair.map((status, index) => pod(`p${index}`, 'c1', status));
      assert.equal(apiServersByNode(pods).get('c1'), false);
    }
  });

  it('are kept without what else their pods say', () => {
    assert.deepEqual(pod('p1', 'c1', 'True'), {
      metadata: { name: 'p1', uid: 'p1', resourceVersion: '1' },
      nodeName: 'c1',
      ready: true,
    });
  });
});
