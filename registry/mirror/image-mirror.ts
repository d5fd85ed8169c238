/**
 * Copies one image after the other from a repository to another, byte for byte: blobs, then manifests, then what is attached
 * to them, and the tag last, so that a tag never leads to something that is not all there. What is there already is not
 * copied again, so a run that was killed goes on where it ended.
 */
import { isDigest } from '../digest.ts';
import { RegistryError } from '../errors.ts';
import type { Descriptor } from '../oci.ts';
import { atOnce } from './at-once.ts';
import { referrersTag } from './attachment-tags.ts';
import { type BlobCopyOptions, copyBlobs, totalSize } from './blob-copy.ts';
import { type DocumentLinks, linksOf } from './document-links.ts';
import { mergedList } from './referrer-list.ts';
import type { DestinationRepository, SourceRepository, TypedDocument } from './repository.ts';
import { type ReferrerList, type Survey, survey, type SurveyOptions } from './survey.ts';

const REQUESTS_AT_ONCE = 8;

export interface ImageMirrorOptions extends SurveyOptions, Omit<BlobCopyOptions, 'onProgress'> {
  /** Only finds out what there would be to do. */
  readonly dryRun: boolean;
}

export interface MirroredImage {
  /** Of what stands at the destination under the name now. */
  readonly digest: string;
  /** True when there was nothing to do. */
  readonly upToDate: boolean;
  /** Manifests and indexes of image and attachments, and how many of them were not there. */
  readonly documents: number;
  readonly documentsCopied: number;
  /** How many of `documents` are signatures, attestations and other referrers. */
  readonly attachments: number;
  /** Blobs that were transferred, and their bytes. */
  readonly blobsCopied: number;
  readonly bytesCopied: number;
  /** Blobs taken over from another repository of the same registry, without a transfer. */
  readonly blobsMounted: number;
}

/** What is not at the destination yet. */
interface Gap {
  readonly documents: ReadonlySet<DocumentLinks>;
  readonly blobs: readonly Descriptor[];
}

export class ImageMirror {
  readonly #source: SourceRepository;
  readonly #destination: DestinationRepository;
  readonly #options: ImageMirrorOptions;
  /** Digests of what a dry run would have copied by now: images of a stream share most of their layers. */
  readonly #promised = new Set<string>();

  constructor(source: SourceRepository, destination: DestinationRepository, options: ImageMirrorOptions) {
    this.#source = source;
    this.#destination = destination;
    this.#options = options;
  }

  /**
   * @param reference tag or digest at the source.
   * @param name tag or digest under which it is to be found at the destination.
   * @param onProgress told how many of the blobs that were missing are there.
   * @throws RegistryError whatever either side says; `DigestMismatch` when the destination does not give back what it got.
   */
  async copy(reference: string, name: string, onProgress: BlobCopyOptions['onProgress']): Promise<MirroredImage> {
    const found = await survey(this.#source, reference, this.#options);
    const gap = await this.#gapOf(found);
    const result = { documents: found.documents.length, attachments: found.attachments };
    if (this.#options.dryRun) return { ...result, ...(await this.#foreseen(name, found, gap)) };
    const how = { ...this.#options, onProgress };
    const { mounted, bytes } = await copyBlobs(this.#source, this.#destination, gap.blobs, how);
    const head = await this.#putDocuments(found, gap);
    let changes = 0;
    for (const list of found.referrers) changes += await this.#listReferrers(list);
    for (const { tag, document } of found.tags) changes += await this.#publish(document, tag);
    // A digest is that of the whole image; a part of one stands under its own.
    const target = isDigest(name) ? head.digest : name;
    changes += await this.#publish(head, target);
    await this.#verify(found, head, target);
    return {
      ...result,
      digest: head.digest,
      upToDate: changes + gap.documents.size + gap.blobs.length === 0,
      documentsCopied: gap.documents.size,
      blobsCopied: gap.blobs.length - mounted,
      bytesCopied: bytes,
      blobsMounted: mounted,
    };
  }

  async #gapOf({ documents }: Survey): Promise<Gap> {
    const { signal } = this.#options;
    const present = await atOnce(REQUESTS_AT_ONCE, documents, async ({ document: { digest } }) => {
      return (await this.#destination.digestOf(digest, signal)) === digest;
    });
    const missing = documents.filter((_, at) => present[at] === false);
    // A manifest that is there has its blobs: registries see to it, and we write them first.
    const blobs = [...new Map(missing.flatMap((one) => one.blobs.map((blob) => [blob.digest, blob]))).values()];
    const there = await atOnce(REQUESTS_AT_ONCE, blobs, (blob) => this.#destination.hasBlob(blob, signal));
    return { documents: new Set(missing), blobs: blobs.filter((_, at) => there[at] === false) };
  }

  async #foreseen(name: string, { top, isPartial }: Survey, gap: Gap) {
    const { isNeighbour } = this.#destination;
    const stands = await this.#destination.digestOf(name, this.#options.signal);
    const blobs = gap.blobs.filter(({ digest }) => !this.#promised.has(digest));
    for (const { digest } of blobs) this.#promised.add(digest);
    return {
      digest: top.document.digest,
      upToDate: gap.documents.size === 0 && (stands === top.document.digest || isPartial),
      documentsCopied: gap.documents.size,
      blobsCopied: isNeighbour ? 0 : blobs.length,
      bytesCopied: isNeighbour ? 0 : totalSize(blobs),
      blobsMounted: isNeighbour ? blobs.length : 0,
    };
  }

  /** Returns what the name is to stand for. */
  async #putDocuments(found: Survey, gap: Gap): Promise<TypedDocument> {
    let head = found.top.document;
    for (const links of found.documents) {
      if (!gap.documents.has(links)) continue;
      if (links === found.top && found.isPartial) head = await this.#putPartial(found);
      else await this.#destination.putDocument(links.document, this.#options.signal);
    }
    return head;
  }

  /** An index without all of its images; or, where that is refused, the image itself if there is just one. */
  async #putPartial({ top, documents }: Survey): Promise<TypedDocument> {
    try {
      await this.#destination.putDocument(top.document, this.#options.signal);
      return top.document;
    } catch (error) {
      if (!(error instanceof RegistryError) || error.code !== 'UnexpectedResponse') throw error;
      const images = top.documents.filter(({ platform }) => platform?.os !== 'unknown').map(({ digest }) => digest);
      const [only, ...others] = documents.filter(({ document }) => images.includes(document.digest));
      if (only === undefined || others.length > 0) {
        throw error.withNote(
          'an index whose images are not all there is not taken: mirror all of it, or one platform alone, whose image then stands under the tag by itself',
        );
      }
      this.#options.onWarning(
        `${this.#destination.name} takes no index whose images are not all there: the tag stands for ${only.document.digest}, the image of the one platform`,
      );
      return only.document;
    }
  }

  async #listReferrers(list: ReferrerList): Promise<number> {
    const { signal } = this.#options;
    if ((await this.#destination.referrers(list.subject, signal)) !== undefined) return 0;
    const tag = referrersTag(list.subject);
    const there = await this.#destination.document(tag, signal);
    const known = there === undefined ? undefined : linksOf(there, `${this.#destination.name}:${tag}`);
    const index = mergedList(known, list);
    if (index === undefined) return 0;
    await this.#destination.putDocument(index, signal);
    return await this.#publish(index, tag);
  }

  /** Returns how many names it moved. */
  async #publish(document: TypedDocument, name: string): Promise<number> {
    const { signal } = this.#options;
    if (!isDigest(name) && (await this.#destination.digestOf(name, signal)) === document.digest) return 0;
    await this.#destination.publish(document, name, signal);
    return isDigest(name) ? 0 : 1;
  }

  /** Asks the destination for everything again: it must be what the source has. */
  async #verify({ top, documents }: Survey, head: TypedDocument, name: string): Promise<void> {
    const { signal } = this.#options;
    const tagged = await this.#destination.document(name, signal);
    if (tagged?.digest !== head.digest) throw this.#differs(name, head.digest, tagged?.digest);
    await atOnce(REQUESTS_AT_ONCE, documents, async (links) => {
      if (links === top) return;
      const { digest } = links.document;
      const found = await this.#destination.digestOf(digest, signal);
      if (found !== digest) throw this.#differs(digest, digest, found);
    });
  }

  #differs(name: string, wanted: string, found: string | undefined): RegistryError {
    return new RegistryError(
      'DigestMismatch',
      `${this.#destination.name} gives ${found ?? 'nothing'} for ${name} after ${wanted} was written there: is somebody else writing to it? Mirror again.`,
    );
  }
}
