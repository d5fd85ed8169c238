/**
 * Finds out what belongs to an image: documents below it, signatures and other referrers, and what refers to those. Only
 * manifests are read, so that it is known what a copy costs before it begins.
 */
import { isDigest } from '../digest.ts';
import { printable, RegistryError } from '../errors.ts';
import type { Descriptor } from '../oci.ts';
import { atOnce } from './at-once.ts';
import { cosignTags, referrersTag } from './attachment-tags.ts';
import { type DocumentLinks, linksOf } from './document-links.ts';
import { entriesFor, type WantedPlatform } from './platform-filter.ts';
import type { SourceRepository, TypedDocument } from './repository.ts';

/** Signatures of a bill of materials of a signature: nobody goes further, and a loop ends here. */
const ATTACHMENT_DEPTH_MAX = 4;
/** An index in an index in an index; real ones have one level. */
const INDEX_DEPTH_MAX = 4;
/** Documents of one image, with all that is attached to them. */
const DOCUMENTS_MAX = 20_000;
/** Of all of them, since they are held in memory; real ones have a few kilobytes. */
const DOCUMENT_BYTES_MAX = 256 * 1024 * 1024;
const REQUESTS_AT_ONCE = 4;

/** What refers to a document by its `subject`. */
export interface ReferrerList {
  readonly subject: string;
  readonly entries: readonly Descriptor[];
  /** The list as the source keeps it under a tag, if it does. */
  readonly document?: TypedDocument;
}

export interface Survey {
  readonly top: DocumentLinks;
  /** Not all that the top names is wanted. */
  readonly isPartial: boolean;
  /** All documents, each once, and after those below it. */
  readonly documents: readonly DocumentLinks[];
  /** How many of them belong to attachments. */
  readonly attachments: number;
  readonly referrers: readonly ReferrerList[];
  /** Tags of attachments. */
  readonly tags: readonly { readonly tag: string; readonly document: TypedDocument }[];
}

export interface SurveyOptions {
  /** Empty: the whole index. */
  readonly platforms: readonly WantedPlatform[];
  readonly onWarning: (message: string) => void;
  readonly signal?: AbortSignal;
}

/** @throws RegistryError `NotFound`, `NoPlatform`, `InvalidManifest`, `UnsupportedMediaType`, `TooLarge`, and what a registry may say. */
export function survey(source: SourceRepository, reference: string, options: SurveyOptions): Promise<Survey> {
  return new Surveyor(source, `${source.name}${isDigest(reference) ? '@' : ':'}${reference}`, options).run(reference);
}

class Surveyor {
  readonly #source: SourceRepository;
  readonly #label: string;
  readonly #options: SurveyOptions;
  readonly #documents = new Map<string, DocumentLinks>();
  #bytes = 0;
  readonly #referrers: ReferrerList[] = [];
  readonly #tags: { readonly tag: string; readonly document: TypedDocument }[] = [];

  constructor(source: SourceRepository, label: string, options: SurveyOptions) {
    this.#source = source;
    this.#label = label;
    this.#options = options;
  }

  async run(reference: string): Promise<Survey> {
    const top = await this.#fetch(reference);
    if (top === undefined)
      throw new RegistryError('NotFound', `${this.#label} does not exist: check the name, and the tag or digest.`);
    const wanted = entriesFor(top.documents, this.#options.platforms);
    if (wanted.length === 0 && top.documents.length > 0) throw this.#noPlatform(top.documents);
    this.#documents.set(top.document.digest, top);
    await this.#below(wanted, 1);
    const own = new Set(this.#documents.keys());
    // Attachments of attachments, level by level.
    let level: readonly string[] = [...own];
    for (let depth = 1; level.length > 0; depth++) {
      const before = new Set(this.#documents.keys());
      await atOnce(REQUESTS_AT_ONCE, level, (digest) => this.#attachments(digest, depth));
      level = [...this.#documents.keys()].filter((digest) => !before.has(digest));
    }
    return {
      top,
      isPartial: wanted.length < top.documents.length,
      documents: afterThoseBelow(this.#documents),
      attachments: this.#documents.size - own.size,
      referrers: this.#referrers,
      tags: this.#tags,
    };
  }

  async #below(entries: readonly Descriptor[], depth: number): Promise<void> {
    await atOnce(REQUESTS_AT_ONCE, entries, async ({ digest }) => {
      if (this.#documents.has(digest)) return;
      const found = await this.#fetch(digest);
      if (found === undefined) throw this.#missing(digest);
      await this.#add(found, depth);
    });
  }

  async #add(links: DocumentLinks, depth: number): Promise<void> {
    const { digest } = links.document;
    if (this.#documents.has(digest)) return;
    this.#documents.set(digest, links);
    this.#bytes += links.document.bytes.length;
    if (this.#documents.size > DOCUMENTS_MAX) throw this.#tooMuch(`more than ${DOCUMENTS_MAX} manifests`);
    if (this.#bytes > DOCUMENT_BYTES_MAX) throw this.#tooMuch(`more than ${DOCUMENT_BYTES_MAX} bytes of manifests`);
    if (depth > INDEX_DEPTH_MAX) throw this.#tooMuch(`indexes nested deeper than ${INDEX_DEPTH_MAX} levels`);
    await this.#below(links.documents, depth + 1);
  }

  async #attachments(digest: string, depth: number): Promise<void> {
    await Promise.all([this.#list(digest, depth), ...cosignTags(digest).map((tag) => this.#tagged(tag, depth))]);
  }

  async #tagged(tag: string, depth: number): Promise<void> {
    const found = await this.#fetch(tag);
    if (found === undefined || this.#isTooDeep(depth, tag)) return;
    await this.#add(found, 0);
    this.#tags.push({ tag, document: found.document });
  }

  async #list(subject: string, depth: number): Promise<void> {
    const listed = await this.#source.referrers(subject, this.#options.signal);
    const tagged = listed === undefined ? await this.#fetch(referrersTag(subject)) : undefined;
    const entries = listed ?? (tagged?.isIndex === true ? tagged.documents : []);
    if (entries.length === 0 || this.#isTooDeep(depth, referrersTag(subject))) return;
    const found = await atOnce(REQUESTS_AT_ONCE, entries, async ({ digest }) => {
      const links = await this.#fetch(digest);
      // Whoever deletes a signature need not know who keeps a list of it.
      if (links === undefined)
        this.#options.onWarning(`${digest}, which refers to ${subject} in ${this.#label}, does not exist`);
      else await this.#add(links, 0);
      return links !== undefined;
    });
    const present = entries.filter((_, at) => found[at] === true);
    if (present.length === 0) return;
    const isWhole = tagged !== undefined && present.length === entries.length;
    this.#referrers.push({ subject, entries: present, ...(isWhole && { document: tagged.document }) });
  }

  async #fetch(reference: string): Promise<DocumentLinks | undefined> {
    const document = await this.#source.document(reference, this.#options.signal);
    return document === undefined ? undefined : linksOf(document, `${this.#label} (${reference})`);
  }

  #isTooDeep(depth: number, what: string): boolean {
    if (depth <= ATTACHMENT_DEPTH_MAX) return false;
    this.#options.onWarning(
      `${what} in ${this.#label} is left out: attachments of attachments are followed ${ATTACHMENT_DEPTH_MAX} times`,
    );
    return true;
  }

  #missing(digest: string): RegistryError {
    return new RegistryError(
      'NotFound',
      `The index of ${this.#label} names the manifest ${digest}, which does not exist there: push the image again, or choose the platforms that are there (--platform).`,
    );
  }

  #noPlatform(documents: readonly Descriptor[]): RegistryError {
    const offered = documents.map(({ platform }) => `${platform?.os ?? '?'}/${platform?.architecture ?? '?'}`);
    return new RegistryError(
      'NoPlatform',
      `${this.#label} has no image for the platforms that are asked for (it offers ${printable([...new Set(offered)].join(', '))}).`,
    );
  }

  #tooMuch(what: string): RegistryError {
    return new RegistryError('TooLarge', `${this.#label} has ${what}: it is not copied.`);
  }
}

/** A registry refuses an index whose documents it does not have yet. */
function afterThoseBelow(documents: ReadonlyMap<string, DocumentLinks>): readonly DocumentLinks[] {
  const ordered = new Set<DocumentLinks>();
  const visit = (links: DocumentLinks | undefined): void => {
    if (links === undefined || ordered.has(links)) return;
    for (const { digest } of links.documents) visit(documents.get(digest));
    ordered.add(links);
  };
  for (const links of documents.values()) visit(links);
  return [...ordered];
}
