/** The `manifest.json` of a `docker save` tar, and which of its images a reference means. */
import * as z from 'zod';
import { printable, RegistryError } from './errors.ts';
import { formatImageReference, type ImageReference, invalid } from './image-reference.ts';

const IMAGES = z
  .array(
    z.looseObject({
      Config: z.string().min(1),
      RepoTags: z.array(z.string()).nullish(),
      Layers: z.array(z.string().min(1)).max(4096),
    }),
  )
  .max(1024);

export type ArchivedImageEntry = z.infer<typeof IMAGES>[number];

export interface DockerArchiveName {
  readonly path: string;
  /** `NAME[:TAG]`, or `@N` for the image at position N. */
  readonly ref?: string;
}

/**
 * Splits `path[:docker-ref]` or `path[:@index]` at the first colon, see containers-transports(5).
 * @throws RegistryError `InvalidReference`
 */
export function parseDockerArchiveName(image: ImageReference): DockerArchiveName {
  const colon = image.name.indexOf(':');
  const path = colon < 0 ? image.name : image.name.slice(0, colon);
  const ref = colon < 0 ? undefined : image.name.slice(colon + 1);
  if (path === '' || ref === '') {
    throw invalid(
      formatImageReference(image),
      'must be docker-archive:PATH, docker-archive:PATH:NAME:TAG or docker-archive:PATH:@N',
    );
  }
  if (ref?.includes('@sha256:') === true)
    throw invalid(formatImageReference(image), 'has a digest, but such an archive has none: leave it out');
  return { path, ...(ref === undefined ? {} : { ref }) };
}

/** @throws RegistryError `InvalidLayout` */
export function parseArchiveImages(bytes: Buffer, label: string): readonly ArchivedImageEntry[] {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw malformed(label, 'not valid JSON', error);
  }
  const parsed = IMAGES.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw malformed(label, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'unexpected content'}`);
}

/** @throws RegistryError `NotFound` naming the images that there are. */
export function chooseImage(
  images: readonly ArchivedImageEntry[],
  { ref }: DockerArchiveName,
  label: string,
): ArchivedImageEntry {
  const matches = ref === undefined ? images : images.filter((image, position) => isMeant(image, position, ref));
  if (matches.length === 1 && matches[0] !== undefined) return matches[0];
  const names = images.map((image, position) => image.RepoTags?.[0] ?? `@${position}`).slice(0, 20);
  const offered = names.length === 0 ? 'no image' : printable(names.join(', '));
  throw new RegistryError(
    'NotFound',
    ref === undefined
      ? `${label} holds ${offered}: append :NAME:TAG or :@N to say which image is meant.`
      : `${label} names ${matches.length === 0 ? 'no' : 'more than one'} image of its archive (which holds ${offered}): check the part after the path.`,
  );
}

function isMeant(image: ArchivedImageEntry, position: number, ref: string): boolean {
  if (ref.startsWith('@')) return ref === `@${position}`;
  return image.RepoTags?.some((tag) => fullName(tag) === fullName(ref)) ?? false;
}

/** `docker save` writes names of Docker Hub in short; both sides are spelt out before they are compared. */
function fullName(name: string): string {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(0, slash));
  const hasHost = slash > 0 && (first === 'localhost' || /[.:A-Z]/.test(first));
  const spelt = hasHost ? name : `docker.io/${slash < 0 ? 'library/' : ''}${name}`;
  return /:[^/]*$/.test(spelt) ? spelt : `${spelt}:latest`;
}

function malformed(label: string, reason: string, cause?: unknown): RegistryError {
  return new RegistryError(
    'InvalidLayout',
    `The manifest.json of ${label} is malformed (${printable(reason)}): save the image again.`,
    cause,
  );
}
