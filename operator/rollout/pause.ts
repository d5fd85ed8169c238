/** Who keeps a rollout from taking further nodes: `spec.rollout.paused`, and every entry of `spec.rollout.pauseRequests`. */
import type { OSImage } from '../../api/index.ts';

/** Who pauses `image`, why, and what ends it, as a sentence without its full stop; undefined while nobody does. */
export function whoPauses(image: OSImage): string | undefined {
  const { paused, pauseRequests = [] } = image.spec.rollout;
  const who = pauseRequests.map(({ name, reason }) => `${name} asks for it in spec.rollout.pauseRequests (${reason})`);
  if (paused) who.unshift('set spec.rollout.paused to false to go on');
  return who.length === 0 ? undefined : who.join('; ');
}
