/** Pushes an image to a registry (OCI distribution specification, "Push"): blobs that are not there yet, then the manifest. */
import { type Answer, drain, header, resolveLocation } from './connection.ts';
import { RegistryError } from './errors.ts';
import { invalid } from './image-reference.ts';
import type { ImageDestination } from './image-source.ts';
import { manifestBlob } from './layout-index.ts';
import type { Descriptor, ImageManifest } from './oci.ts';
import type { RegistryOptions } from './options.ts';
import { RegistryClient } from './registry-client.ts';
import { formatRegistryName, manifestReference, type RegistryName } from './registry-name.ts';
import { BlobVerifier } from './verification.ts';

export class RegistryDestination implements ImageDestination {
  readonly #client: RegistryClient;
  readonly #name: RegistryName;
  readonly #label: string;

  constructor(name: RegistryName, options: RegistryOptions) {
    this.#label = formatRegistryName(name);
    if (name.digest !== undefined)
      throw invalid(this.#label, 'has a digest, but an image is pushed to a tag: leave it out');
    this.#name = name;
    this.#client = new RegistryClient(name, 'pull,push', options);
  }

  hasBlob(descriptor: Descriptor, signal?: AbortSignal): Promise<boolean> {
    return this.#client.retrying(async () => {
      const answer = await this.#client.attempt({
        method: 'HEAD',
        target: `blobs/${descriptor.digest}`,
        expect: [200, 404],
        missing: '',
        signal,
      });
      await drain(answer);
      return answer.status === 200;
    }, signal);
  }

  async putBlob(descriptor: Descriptor, content: () => AsyncIterable<Buffer>, signal?: AbortSignal): Promise<void> {
    if (await this.hasBlob(descriptor, signal)) return;
    // An upload that broke is begun anew: an upload session need not survive a registry's restart.
    await this.#client.retrying(async () => {
      const started = await this.#client.attempt({
        method: 'POST',
        target: 'blobs/uploads/',
        headers: { 'content-length': '0' },
        expect: [202],
        missing: this.#missing(),
        signal,
      });
      await drain(started);
      const target = this.#uploadUrl(started);
      target.searchParams.set('digest', descriptor.digest);
      const upload = new Upload(content, new BlobVerifier(descriptor, this.#label));
      const finished = await upload.blameSource(
        this.#client.attempt({
          method: 'PUT',
          target,
          headers: { 'content-type': 'application/octet-stream', 'content-length': String(descriptor.size) },
          body: () => upload.stream(),
          expect: [201],
          missing: `Registry ${this.#name.host} lost the upload of blob ${descriptor.digest}: push again.`,
          signal,
        }),
      );
      await drain(finished);
    }, signal);
  }

  putManifest(manifest: ImageManifest, signal?: AbortSignal): Promise<string> {
    return this.#putManifest(manifest, manifestReference(this.#name), signal);
  }

  /** Writes the manifest under its digest only: no tag moves. Returns the digest. */
  putUntagged(manifest: ImageManifest, signal?: AbortSignal): Promise<string> {
    return this.#putManifest(manifest, manifestBlob(manifest).descriptor.digest, signal);
  }

  async #putManifest(manifest: ImageManifest, reference: string, signal: AbortSignal | undefined): Promise<string> {
    const { bytes, descriptor } = manifestBlob(manifest);
    await this.#client.retrying(async () => {
      const answer = await this.#client.attempt({
        method: 'PUT',
        target: `manifests/${reference}`,
        headers: { 'content-type': descriptor.mediaType },
        body: () => bytes,
        expect: [201],
        missing: this.#missing(),
        signal,
      });
      await drain(answer);
      const stored = header(answer, 'docker-content-digest');
      if (stored !== undefined && stored !== descriptor.digest) {
        throw new RegistryError(
          'DigestMismatch',
          `Registry ${this.#name.host} stored the manifest of ${this.#label} as ${stored.slice(0, 80)} instead of ${descriptor.digest}: it changes what is pushed; do not use it.`,
        );
      }
    }, signal);
    return descriptor.digest;
  }

  #uploadUrl(started: Answer): URL {
    const location = header(started, 'location');
    if (location === undefined) {
      throw new RegistryError(
        'UnexpectedResponse',
        `Registry ${this.#name.host} accepts an upload without saying where to: report it to whoever runs it.`,
      );
    }
    const url = resolveLocation(location, started.url);
    if (url.protocol === 'http:' && started.url.protocol === 'https:') {
      throw new RegistryError(
        'UnsafeRedirect',
        `Registry ${this.#name.host} wants the upload over unencrypted http://${url.host}: correct its external URL (behind a proxy: X-Forwarded-Proto).`,
      );
    }
    return url;
  }

  #missing(): string {
    return `Registry ${this.#name.host} has no repository ${this.#name.repository} to push to: create it, or check the name.`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }
}

/** What is sent, verified as it passes. A source that fails is told apart from a connection that does. */
class Upload {
  readonly #content: () => AsyncIterable<Buffer>;
  readonly #verifier: BlobVerifier;
  #failure: { readonly error: unknown } | undefined;

  constructor(content: () => AsyncIterable<Buffer>, verifier: BlobVerifier) {
    this.#content = content;
    this.#verifier = verifier;
  }

  async *stream(): AsyncIterable<Buffer> {
    try {
      for await (const chunk of this.#content()) {
        this.#verifier.update(chunk);
        yield chunk;
      }
      this.#verifier.finish();
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }

  async blameSource<T>(request: Promise<T>): Promise<T> {
    try {
      return await request;
    } catch (error) {
      throw this.#failure === undefined ? error : this.#failure.error;
    }
  }
}
