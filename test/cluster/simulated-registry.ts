/** The few answers of a registry (OCI distribution spec) that resolving a tag needs, on loopback. No layer is ever asked for. */
import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { MEDIA_TYPE } from '../../registry/index.ts';
import { ANNOTATION } from '../../registry/signatures/attached-signature.ts';
import { tagOfDigest } from '../../registry/signatures/lookup.ts';
import { SIMPLE_SIGNING_MEDIA_TYPE } from '../../registry/signatures/simple-signing.ts';
import { simpleSignature } from '../../testbed/signed-image.ts';

const digestOf = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

export class SimulatedRegistry implements AsyncDisposable {
  readonly #server: Server;
  readonly #documents = new Map<string, { readonly type: string; readonly bytes: Buffer }>();
  /** Value of the `Authorization` header without which nothing is served, if any. */
  authorization: string | undefined;
  /** How many manifests were asked for. */
  requests = 0;

  constructor() {
    this.#server = createServer((request, response) => {
      const url = request.url ?? '';
      if (this.authorization !== undefined && request.headers.authorization !== this.authorization) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end();
        return;
      }
      if (url.includes('/manifests/')) this.requests += 1;
      const document = this.#documents.get(url);
      if (document === undefined) {
        response.writeHead(404, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ errors: [{ code: 'MANIFEST_UNKNOWN', message: 'manifest unknown' }] }));
        return;
      }
      const { type, bytes } = document;
      response.writeHead(200, {
        'content-type': type,
        'content-length': bytes.length,
        'docker-content-digest': digestOf(bytes),
      });
      response.end(request.method === 'HEAD' ? undefined : bytes);
    });
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  /** `127.0.0.1:PORT` */
  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Serves an amd64 image of `version` under `name:tag`, as one OSTree layer unless `labels` says otherwise; returns its digest. */
  push(name: string, tag: string, version: string, labels?: Record<string, string>): string {
    const diffID = digestOf(Buffer.from(version));
    const config = this.#blob(name, {
      architecture: 'amd64',
      os: 'linux',
      created: '2026-01-01T00:00:00Z',
      config: {
        Labels: labels ?? {
          'ostree.bootable': 'true',
          'ostree.commit': createHash('sha256').update(version).digest('hex'),
          'ostree.final-diffid': diffID,
          version,
        },
      },
      rootfs: { type: 'layers', diff_ids: [diffID] },
    });
    const bytes = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MEDIA_TYPE.manifest,
        config: { mediaType: MEDIA_TYPE.config, ...config },
        layers: [{ mediaType: MEDIA_TYPE.layerGzip, digest: diffID, size: 1 }],
      }),
    );
    const digest = digestOf(bytes);
    for (const reference of [tag, digest])
      this.#documents.set(`/v2/${name}/manifests/${reference}`, { type: MEDIA_TYPE.manifest, bytes });
    return digest;
  }

  /** Attaches a signature of `name@digest` under its tag, as cosign does. */
  sign(name: string, digest: string, privateKey: string): void {
    const { payload, signature } = simpleSignature(privateKey, { dockerReference: `${this.host}/${name}`, digest });
    const config = this.#blob(name, {});
    const layerDigest = digestOf(payload);
    this.#documents.set(`/v2/${name}/blobs/${layerDigest}`, { type: 'application/octet-stream', bytes: payload });
    const annotations = { [ANNOTATION.signature]: signature.toString('base64') };
    const layer = { mediaType: SIMPLE_SIGNING_MEDIA_TYPE, digest: layerDigest, size: payload.length, annotations };
    const manifest = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.manifest,
      config: { mediaType: MEDIA_TYPE.config, ...config },
      layers: [layer],
    };
    const bytes = Buffer.from(JSON.stringify(manifest));
    this.#documents.set(`/v2/${name}/manifests/${tagOfDigest(digest)}.sig`, { type: MEDIA_TYPE.manifest, bytes });
  }

  /** Goes away, for good; safe to call twice. */
  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #blob(name: string, value: unknown): { readonly digest: string; readonly size: number } {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = digestOf(bytes);
    this.#documents.set(`/v2/${name}/blobs/${digest}`, { type: 'application/octet-stream', bytes });
    return { digest, size: bytes.length };
  }
}
