import assert from 'node:assert/strict';
import type { AlertPolicy, OSImageStatus } from '../../../api/index.ts';
import { stageOrder } from '../../../operator/rollout/order.ts';
import { plan } from '../../../operator/rollout/plan.ts';
import type { AlertsSnapshot, Snapshot } from '../../../operator/rollout/snapshot.ts';
import { NOW, imageOf, manifestOf, nodeOSOf, nodeOf, release, snapshotOf } from './fixtures.ts';

const TARGET = {
  digest: manifestOf('v2'),
  image: `ostree-unverified-registry:registry.example/os@${manifestOf('v2')}`,
};
const URL = 'http://prometheus.example:9090';
const HOLD: AlertPolicy = { prometheusURL: URL, ignore: [], onUnreachable: 'Hold' };

function waiting(policy: AlertPolicy, answer?: Partial<AlertsSnapshot>, others: object = {}): Snapshot {
  const names = ['a', 'b'];
  const order = stageOrder(TARGET, 0, 'boot-1');
  return snapshotOf({
    images: [imageOf({ policy: { health: { alerts: policy } } })],
    nodes: names.map((name) => nodeOf(name)),
    nodeOSes: names.map((name) => nodeOSOf(name, { staged: 'v2', order, rollout: { phase: 'AwaitingSlot' } })),
    alerts: new Map(answer && [['fleet', { policy, firing: [], ...answer }]]),
    ...others,
  });
}

const slots = (given: Snapshot) =>
  plan(given, NOW).actions.filter(
    (action) => action.kind === 'WriteRollout' && action.status.rollout.slotTime !== undefined,
  ).length;

const asks = (given: Snapshot) => plan(given, NOW).actions.filter(({ kind }) => kind === 'Alerts').length;

function blockerOf(given: Snapshot): NonNullable<OSImageStatus['blockers']>[number] | undefined {
  const write = plan(given, NOW).actions.find((action) => action.kind === 'WriteImageStatus');
  return write?.status.blockers?.find(({ type }) => type.startsWith('Alerts'));
}

describe('Alerts', () => {
  it('are asked for before a slot is granted, without a word until the answer is there', () => {
    const given = waiting(HOLD);
    assert.deepEqual([slots(given), asks(given), blockerOf(given)], [0, 1, undefined]);
    assert.equal(slots(waiting(HOLD, {})), 1);
  });

  it('that fire keep every node from a slot, and are named', () => {
    const firing = ['A', 'B', 'C', 'D', 'E', 'F'];
    const given = waiting(HOLD, { firing });
    assert.deepEqual([slots(given), asks(given)], [0, 1]);
    assert.equal(blockerOf(given)?.type, 'AlertsFiring');
    assert.match(
      blockerOf(given)?.message ?? '',
      /^No node gets a slot while alerts fire: A, B, C, D, E and 1 more\. /,
    );
  });

  it('that nobody can tell of keep it so, too, unless they are to be ignored', () => {
    const unreachable = `${URL} does not answer: ECONNREFUSED.`;
    const given = waiting(HOLD, { unreachable });
    assert.equal(slots(given), 0);
    assert.equal(blockerOf(given)?.type, 'AlertsUnreachable');
    assert.match(blockerOf(given)?.message ?? '', /cannot be told\. http:\/\/prometheus\.example:9090 does not answer/);
    assert.equal(slots(waiting({ ...HOLD, onUnreachable: 'Ignore' }, { unreachable })), 1);
  });

  it('of another policy do not count', () => {
    const other = { ...HOLD, prometheusURL: 'http://else.example' };
    assert.equal(slots(waiting(HOLD, { policy: other })), 0);
  });

  it('are not asked for while nobody could have a slot anyway, or where nobody wants them', () => {
    const paused = { images: [imageOf({ paused: true, policy: { health: { alerts: HOLD } } })] };
    assert.equal(asks(waiting(HOLD, undefined, paused)), 0);
    const none = waiting(HOLD, undefined, { images: [imageOf()] });
    assert.deepEqual([slots(none), asks(none)], [1, 0]);
  });

  it('do not keep a fleet from going back: they fire because of what it leaves behind', () => {
    const { object, resolution } = imageOf({ version: 'v3', policy: { health: { alerts: HOLD } } });
    const good = release('v2');
    const { digest, reference } = release('v3').release;
    const entry = { digest, reference, reason: 'Unhealthy', failures: 1, message: '', time: '2026-11-23T11:00:00Z' };
    const status = { target: good.release, current: good.release, quarantinedDigests: [entry] };
    const images = [{ object: { ...object, status }, resolution, target: good }];
    const order = stageOrder({ ...TARGET, downgrade: 'Allow' }, 0, 'boot-1');
    const nodeOSes = ['a', 'b'].map((name) =>
      nodeOSOf(name, { staged: 'v2', order, rollout: { phase: 'AwaitingSlot' } }),
    );
    const given = waiting(HOLD, { firing: ['ShopDown'] }, { images, nodeOSes });
    assert.deepEqual([slots(given), asks(given)], [1, 0]);
  });
});
