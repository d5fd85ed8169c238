/** The images of a repository with what is there of each: by image ref, by any other ref, or by a deployment. */
import type { ImageReference } from '../../registry/index.ts';
import { ImportError } from '../import/errors.ts';
import { type ImageMetadata, isImageCommit, readImageMetadata } from '../import/merge-commit.ts';
import { blobRef, BLOB_REF_PREFIX, IMAGE_REF_PREFIX, PULL_GUARD_PREFIX, tryImageOfRef } from '../import/store-refs.ts';
import type { Repository } from '../repository/repository.ts';
import type { DeploymentRoot } from '../store/deployment-roots.ts';
import { isDamage } from './closure-check.ts';
import type { Problem } from './problem.ts';

export interface StandingLayer {
  readonly digest: string;
  readonly ref: string;
  /** What the ref names, if it is there. */
  readonly commit?: string;
}

export interface ImageStanding {
  /** Ref or deployment. */
  readonly holder: string;
  /** Under which name it was pulled, if that is known. */
  readonly reference?: ImageReference;
  readonly mergeCommit: string;
  /** Undefined when the commit is not there or cannot be read. */
  readonly metadata?: ImageMetadata;
  readonly layers: readonly StandingLayer[];
}

/** Reads all images. `onProblem` gets those that are image refs or deployments of images, and cannot be read. */
export function readImages(
  repository: Repository,
  deployments: readonly DeploymentRoot[],
  onProblem: (problem: Problem) => void,
): readonly ImageStanding[] {
  // A ref that holds no checksum is a problem of its own.
  const refs = new Map(
    [...repository.listAllRefs(() => undefined)].flatMap(([path, commit]) =>
      path.startsWith('heads/') ? [[path.slice('heads/'.length), commit]] : [],
    ),
  );
  const held = [
    ...[...refs]
      .filter(([ref]) => !ref.startsWith(`${BLOB_REF_PREFIX}/`) && !ref.startsWith(`${PULL_GUARD_PREFIX}/`))
      .map(([ref, commit]) => {
        const isImage = ref.startsWith(`${IMAGE_REF_PREFIX}/`);
        const image = isImage ? tryImageOfRef(ref) : undefined;
        if (isImage && image === undefined) {
          onProblem({ kind: 'UnreadableImage', subject: ref, message: `${ref} stands for no image`, commit });
        }
        return { holder: ref, commit, ...(image !== undefined && { image }) };
      }),
    ...deployments.map(({ name, ...deployment }) => ({ holder: `deployment ${name}`, ...deployment })),
  ];
  return held.flatMap(({ holder, commit, image }) => {
    const metadata = readMetadata(repository, holder, commit, image !== undefined, onProblem);
    // An ordinary branch, or a deployment of one.
    if (metadata === undefined && image === undefined) return [];
    const layers = (metadata?.manifest.layers ?? []).map(({ digest }): StandingLayer => {
      const ref = blobRef(digest);
      const layer = refs.get(ref);
      return { digest, ref, ...(layer !== undefined && { commit: layer }) };
    });
    return [
      {
        holder,
        ...(image !== undefined && { reference: image }),
        mergeCommit: commit,
        ...(metadata !== undefined && { metadata }),
        layers,
      },
    ];
  });
}

function readMetadata(
  repository: Repository,
  holder: string,
  commit: string,
  isImage: boolean,
  onProblem: (problem: Problem) => void,
): ImageMetadata | undefined {
  try {
    const { metadata } = repository.readCommit(commit);
    if (!isImage && !isImageCommit(metadata)) return undefined;
    return readImageMetadata(commit, metadata);
  } catch (error) {
    // That the commit is damaged or missing is a problem of its own.
    if (isDamage(error)) return undefined;
    if (!(error instanceof ImportError)) throw error;
    onProblem({
      kind: 'UnreadableImage',
      subject: holder,
      message: `${holder} names no image: ${error.message}`,
      commit,
    });
    return undefined;
  }
}
