/** The objects that the checks of the simulated fleet read: true, or not, by the world's dice. */
import type { HealthCheck } from '../../../api/index.ts';
import type { Action } from '../../../operator/rollout/action.ts';
import { checkKey } from '../../../operator/rollout/checks.ts';
import type { World } from './world.ts';

/** Checks as people write them; each list is allowed by the API. */
export const CHECKS: readonly (readonly HealthCheck[])[] = [
  [],
  [check('store', ['BeforeNode'])],
  [check('store', ['BeforeRollout', 'AfterNode'])],
  [check('store', ['BeforeNode']), check('replicas', ['AfterNode'], 40)],
  [{ ...check('place', ['BeforeNode']), expression: 'object.status.node != node.name' }],
  [{ ...check('place', ['BeforeNode', 'AfterNode'], 40), expression: 'object.status.node != node.name' }],
];

function check(name: string, when: HealthCheck['when'], timeoutSeconds?: number): HealthCheck {
  const object = { apiVersion: 'apps/v1', kind: 'Deployment', namespace: 'shop', name };
  const time = timeoutSeconds === undefined ? {} : { timeoutSeconds };
  return { name, when, object, expression: 'object.status.readyReplicas > 0', ...time };
}

/** One reading; the answer is known at once. */
export function checkTurn(world: World, { image, check, about: node }: Action & { kind: 'Check' }): void {
  const fails = world.chance(world.rates.checkFails);
  const aboutNode = check.expression.includes('node.name') || check.when.every((moment) => moment === 'AfterNode');
  const verdict =
    world.checkedFrom?.(node?.name) ??
    (fails
      ? (world.pick(['False', 'Forbidden', 'Unreadable'] as const) ?? 'False')
      : aboutNode && node === undefined
        ? 'Readable'
        : 'True');
  world.checks.set(checkKey(image, check.name, node?.name), { check, readTime: world.now, verdict, message: '' });
}
