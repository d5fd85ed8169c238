/**
 * What signatures mean for a rollout. Nothing that is not signed as it must be becomes a target, and a target whose signature
 * no longer counts is given to no further node: what is under way on one finishes what it holds, and nothing new begins.
 */
import type { Condition } from '../../api/index.ts';
import type { ImageFleet } from './fleet.ts';
import type { Obstacle } from './obstacle.ts';
import { Reason } from './reasons.ts';
import { currentResolution } from './target.ts';

const REMEDY = 'Sign it, name another image, or correct spec.image.verification (docs/tasks/verify-images.md).';

/** What is wrong with the signature of what the reference means, or of the target. */
export function whyUnverified({ image }: Pick<ImageFleet, 'image'>): string | undefined {
  const { resolution, unverifiedTarget } = image;
  const failed =
    unverifiedTarget ?? (resolution.state === 'Failed' && resolution.unverified === true ? resolution : undefined);
  return failed === undefined ? undefined : `${failed.reason}: ${failed.message}`;
}

/** What people are told of it. */
export function unverifiedObstacles(fleet: Pick<ImageFleet, 'image' | 'choice'>): readonly Obstacle[] {
  const why = whyUnverified(fleet);
  if (why === undefined) return [];
  const { choice, image } = fleet;
  const effect =
    choice.image === undefined
      ? 'No node is moved to it.'
      : `It is not taken; the target stays ${choice.target?.version ?? choice.target?.digest ?? image.object.spec.image.reference}.`;
  return [{ type: 'ImageNotVerified', message: `The image is not signed as it must be (${why}) ${effect} ${REMEDY}` }];
}

/** The condition `ImageVerified`. */
export function imageVerified(fleet: Pick<ImageFleet, 'image'>): Pick<Condition, 'status' | 'reason' | 'message'> {
  const why = whyUnverified(fleet);
  if (why !== undefined) return { status: 'False', reason: Reason.ImageNotVerified, message: why };
  const current = currentResolution(fleet.image);
  if (current === undefined)
    return { status: 'Unknown', reason: Reason.ResolutionPending, message: 'Not looked at yet.' };
  const { signers } = current.release;
  if (signers === undefined && fleet.image.object.spec.image.reference.startsWith('ostree-image-signed:')) {
    const message =
      'The containers-policy.json of each host says who must have signed the image; its agent tells in status.lastOrder.';
    return { status: 'Unknown', reason: Reason.VerifiedByHosts, message };
  }
  if (signers === undefined) {
    const message =
      'Nobody must have signed the image: neither spec.image.verification nor the operator names an authority.';
    return { status: 'Unknown', reason: Reason.VerificationNotRequired, message };
  }
  const names = signers.map(({ authority, key }) => `${authority} (${key})`).join(', ');
  return {
    status: 'True',
    reason: Reason.SignatureVerified,
    message: `${current.release.digest} is signed by ${names}.`,
  };
}
