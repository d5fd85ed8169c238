/** The FleetLock endpoint, over real HTTP, before a planner that is played by the test. */
import assert from 'node:assert/strict';
import { CORDONED_BY_ANNOTATION } from '../../../api/index.ts';
import { appSpecificID, isClient } from '../../../operator/fleet-lock/client-id.ts';
import { serveFleetLock } from '../../../operator/fleet-lock/fleet-lock-endpoint.ts';
import type { HttpListener } from '../../../operator/http-listener.ts';
import { RebootLocks } from '../../../operator/fleet-lock/reboot-locks.ts';
import { ObjectCache } from '../../../operator/kube/object-cache.ts';
import { trimNode, type Node } from '../../../operator/kube/objects.ts';
import { FakeClock } from './fake-clock.ts';

const MACHINE = '1c09ca98649c4c7abc779cd04c96812e';
const ZINCATI = '978a225b3d7b40e9acd7ce9b62f68444';

describe('the id of a FleetLock client', () => {
  it('is what systemd makes of the machine id for an application (the example of libsystemd)', () => {
    const application = Buffer.from('033b1b9b264441fcaa173e9e5bf35c5a', 'hex');
    assert.equal(appSpecificID('2e074e9b299c41a59923c51ae16f279b', application), '4d4a86c9c6644a479560ded5d19a30c5');
    assert.equal(appSpecificID('ec2-1234', application), undefined);
  });

  it('names a Node by its name, its machine id, or the id that Zincati makes of that', () => {
    for (const id of ['a', MACHINE, ZINCATI, '978a225b-3d7b-40e9-acd7-ce9b62f68444'])
      assert.ok(isClient(id, 'a', MACHINE), id);
    assert.ok(isClient(ZINCATI, 'a', '1c09ca98-649c-4c7a-bc77-9cd04c96812e'));
    for (const id of ['b', `${ZINCATI}0`, '']) assert.ok(!isClient(id, 'a', MACHINE), id);
    assert.ok(!isClient(MACHINE, 'a', undefined));
  });
});

describe('the FleetLock endpoint', () => {
  let nodes: ObjectCache<Node>;
  let clock: FakeClock;
  let locks: RebootLocks;
  let endpoint: HttpListener;
  let leading: boolean;
  let version: number;
  /** Called for a plan, as the loop would be. */
  let onWake: () => void;

  const node = (cordonedBy?: string) =>
    trimNode({
      metadata: {
        name: 'a',
        uid: 'uid-a',
        resourceVersion: String(++version),
        annotations: cordonedBy === undefined ? {} : { [CORDONED_BY_ANNOTATION]: cordonedBy },
      },
      spec: { unschedulable: cordonedBy !== undefined },
      status: { nodeInfo: { machineID: MACHINE } },
    });
  const ask = (
    path: string,
    body: unknown = { client_params: { id: ZINCATI, group: 'default' } },
    headers: Record<string, string> = { 'fleet-lock-protocol': 'true' },
    method = 'POST',
  ) =>
    fetch(`${endpoint.url}${path}`, {
      method,
      headers,
      ...(method === 'POST' && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
  const said = async (response: Response) => {
    const { kind, value } = (await response.json()) as { readonly kind: string; readonly value: string };
    return [response.status, kind, value] as const;
  };

  beforeEach(async () => {
    version = 0;
    leading = true;
    nodes = new ObjectCache();
    nodes.replace([node()], '1');
    clock = new FakeClock();
    onWake = () => undefined;
    locks = new RebootLocks({ nodes, isLeader: () => leading, wake: () => onWake(), clock });
    endpoint = await serveFleetLock('127.0.0.1', 0, locks);
  });
  afterEach(() => endpoint[Symbol.asyncDispose]());

  it('answers 200 only once the lock is on the Node, and the same to whoever asks again', async () => {
    let granted = false;
    onWake = () => {
      assert.deepEqual([...locks.wishes], [['a', { kind: 'Lock', id: 'a', group: 'default' }]]);
      locks.planned(new Map());
      setTimeout(() => {
        granted = true;
        nodes.observe(node('fleet-lock:a'));
      }, 20);
    };
    assert.equal((await ask('/v1/pre-reboot')).status, 200);
    assert.ok(granted);
    assert.deepEqual([...locks.wishes], [], 'nothing is left to decide');
    onWake = () => assert.fail('what is durable needs no plan');
    assert.equal((await ask('/v1/pre-reboot')).status, 200);
  });

  it('gives a lock back, and says yes to a host that never had one or is not known', async () => {
    onWake = () => assert.fail('there is nothing to give back');
    assert.equal((await ask('/v1/steady-state')).status, 200);
    const stranger = { client_params: { id: 'stranger', group: 'default' } };
    assert.equal((await ask('/v1/steady-state', stranger)).status, 200);
    nodes.observe(node('fleet-lock:a'));
    onWake = () => nodes.observe(node());
    assert.equal((await ask('/v1/steady-state')).status, 200);
  });

  it('passes on why the planner refuses', async () => {
    onWake = () => locks.planned(new Map([['a', 'Frozen until tomorrow.']]));
    assert.deepEqual(await said(await ask('/v1/pre-reboot')), [409, 'failed_lock', 'Frozen until tomorrow.']);
    assert.deepEqual([...locks.wishes], []);
  });

  it('sends away whom no plan decides on in time', async () => {
    const answer = ask('/v1/pre-reboot');
    while (locks.wishes.size === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await clock.advance(10_000);
    assert.deepEqual((await said(await answer)).slice(0, 2), [503, 'timeout']);
    assert.deepEqual([...locks.wishes], []);
  });

  it('decides nothing where it does not lead', async () => {
    leading = false;
    assert.deepEqual((await said(await ask('/v1/pre-reboot'))).slice(0, 2), [503, 'not_leading']);
  });

  it('refuses what is not of the protocol, and who is no Node', async () => {
    const stranger = { client_params: { id: 'stranger', group: 'default' } };
    const rows: readonly (readonly [Promise<Response>, number, string])[] = [
      [ask('/v1/pre-reboot', undefined, {}), 400, 'missing_header'],
      [ask('/v1/pre-reboot', undefined, undefined, 'GET'), 405, 'method_not_allowed'],
      [ask('/v1/else'), 404, 'not_found'],
      [ask('/v1/pre-reboot', 'no json'), 400, 'bad_request'],
      [ask('/v1/pre-reboot', { client_params: { id: '', group: 'default' } }), 400, 'bad_request'],
      [ask('/v1/pre-reboot', { client_params: { id: 'a', group: 'a b' } }), 400, 'bad_request'],
      [ask('/v1/pre-reboot', 'x'.repeat(5000)), 400, 'bad_request'],
      [ask('/v1/pre-reboot', stranger), 404, 'unknown_client'],
    ];
    for (const [answer, status, kind] of rows) assert.deepEqual((await said(await answer)).slice(0, 2), [status, kind]);
  });
});
