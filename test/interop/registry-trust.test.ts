/** TLS with registries and proxies as the machine's files say, with skopeo reading the same files where it can. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import { createServer as createPlainServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startConfined } from '../../confinement/confined-process.ts';
import {
  FETCH_WORKER,
  Fetcher,
  openImageDestination,
  openImageSource,
  parseImageReference,
  readHostConfiguration,
  RegistryError,
  type RegistryOptions,
} from '../../registry/index.ts';
import { startRegistry, type TestRegistry } from '../../testbed/registry.ts';
import { AMD64, answerFrom, collect, sampleImage } from '../unit/registry/sample-image.ts';

const exec = promisify(execFile);
const image = sampleImage({ labels: { version: '1' } });

for (const where of ['this process', 'a process without privilege'] as const) {
  describe(`trust in registries that ${where} talks to`, () => {
    let folder: string;
    let fetcher: Fetcher | undefined;
    before(() => {
      if (where !== 'this process') fetcher = new Fetcher(startConfined(FETCH_WORKER, { network: true }));
    });
    after(async () => {
      await fetcher?.[Symbol.asyncDispose]();
    });
    const file = (name: string): string => join(folder, name);
    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'treeline-trust-'));
      for (const [name, subject] of [
        ['server', '/CN=server'],
        ['client', '/CN=client'],
      ] as const) {
        const parameters = '-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2'.split(' ');
        const names = ['-addext', 'subjectAltName=IP:127.0.0.1,DNS:registry.example', '-subj', subject];
        await exec('openssl', [
          'req',
          ...parameters,
          ...names,
          '-out',
          file(`${name}.crt`),
          '-keyout',
          file(`${name}.key`),
        ]);
      }
    });
    after(async () => {
      await rm(folder, { recursive: true, force: true });
    });

    /** The machine whose files are under `root`. */
    async function machine(root: string, environment: NodeJS.ProcessEnv = {}): Promise<RegistryOptions> {
      return await readHostConfiguration({ root: file(root), environment, uid: 0 });
    }

    async function install(root: string, host: string, files: Readonly<Record<string, string>>): Promise<void> {
      const directory = join(file(root), 'etc/containers/certs.d', host);
      await mkdir(directory, { recursive: true });
      for (const [name, from] of Object.entries(files)) await copyFile(file(from), join(directory, name));
    }

    async function digestBy(host: string, options: RegistryOptions): Promise<string> {
      await using source = openImageSource(
        { transport: 'registry', name: `${host}/os:v1` },
        { ...options, ...(fetcher && { connect: fetcher.connect }) },
      );
      const resolved = await source.resolve(AMD64);
      await collect(source.openBlob(image.layer));
      return resolved.digest;
    }

    async function push(host: string, options: RegistryOptions): Promise<void> {
      await using destination = openImageDestination(parseImageReference(`docker://${host}/os:v1`), options);
      for (const descriptor of [image.manifest.config, image.layer]) {
        await destination.putBlob(descriptor, async function* () {
          yield await Promise.resolve(image.blobs.get(descriptor.digest)!);
        });
      }
      await destination.putManifest(image.manifest);
    }

    async function code(promise: Promise<unknown>): Promise<string> {
      return await promise.then(
        () => 'none',
        (error: unknown) => (error instanceof RegistryError ? error.code : String(error)),
      );
    }

    describe('with a certificate of its own', () => {
      let registry: TestRegistry;
      before(async () => {
        const tls = { certificateFile: file('server.crt'), keyFile: file('server.key') };
        registry = await startRegistry({ storage: file('storage'), tls });
        await push(registry.host, { certificateAuthority: await readFile(file('server.crt'), 'utf8') });
      });
      after(() => registry.stop());

      it('comes from certs.d, which skopeo reads as well, and from nowhere else', async () => {
        assert.equal(await code(digestBy(registry.host, await machine('empty'))), 'UntrustedCertificate');
        await install('trusting', registry.host, { 'ca.crt': 'server.crt' });
        assert.equal(await digestBy(registry.host, await machine('trusting')), image.digest);
        const directory = join(file('trusting'), 'etc/containers/certs.d', registry.host);
        await exec('skopeo', ['inspect', '--cert-dir', directory, `docker://${registry.host}/os:v1`]);
        assert.equal(await digestBy(registry.host, { certificateDirectory: directory }), image.digest);
        const missing = digestBy(registry.host, { certificateDirectory: file('absent') });
        assert.equal(await code(missing), 'InvalidConfiguration');
      });

      it('is not asked for where registries.conf or the flag says insecure', async () => {
        const conf = join(file('insecure'), 'etc/containers/registries.conf');
        await mkdir(join(conf, '..'), { recursive: true });
        await writeFile(conf, `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`);
        assert.equal(await digestBy(registry.host, await machine('insecure')), image.digest);
        await push(registry.host, await machine('insecure'));
        assert.equal(await digestBy(registry.host, { skipTlsVerification: true }), image.digest);
        await exec('skopeo', ['--registries-conf', conf, 'inspect', `docker://${registry.host}/os:v1`]);
      });

      it('is tried over TLS first; plain HTTP is spoken only where TLS is not, and said', async () => {
        await using plain = await startRegistry({ storage: file('plain') });
        await push(plain.host, { plainHttpHosts: [plain.host] });
        assert.equal(await code(digestBy(plain.host, {})), 'UntrustedCertificate');
        const warnings: string[] = [];
        const onWarning = (message: string): number => warnings.push(message);
        assert.equal(await digestBy(plain.host, { insecureHosts: [plain.host], onWarning }), image.digest);
        assert.deepEqual(warnings, [
          `registry ${plain.host} does not speak TLS: everything it says could be anybody's`,
        ]);
        assert.equal(await digestBy(registry.host, { insecureHosts: [registry.host], onWarning }), image.digest);
        assert.equal(warnings.length, 1);
        const nobody = digestBy('127.0.0.1:1', { insecureHosts: ['127.0.0.1:1'], retry: { attempts: 1 } });
        assert.equal(await code(nobody), 'Unreachable');
      });

      it('is asked for through a proxy, which sees only the connection', async () => {
        const port = Number(registry.host.split(':')[1]);
        const seen: string[] = [];
        const sockets = new Set<Socket>();
        const proxy = createPlainServer();
        proxy.on('connection', (socket: Socket) => sockets.add(socket));
        proxy.on('connect', (request, socket: Socket) => {
          seen.push(request.url ?? '');
          const onward = connect(port, '127.0.0.1', () => {
            socket.write('HTTP/1.1 200 OK\r\n\r\n');
            onward.pipe(socket).pipe(onward);
          });
          for (const end of [onward, socket]) end.on('error', () => undefined);
        });
        await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
        try {
          const environment = { HTTPS_PROXY: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` };
          await install('proxied', 'registry.example', { 'ca.crt': 'server.crt' });
          assert.equal(await digestBy('registry.example', await machine('proxied', environment)), image.digest);
          assert.deepEqual([...new Set(seen)], ['registry.example:443']);
          const direct = await machine('proxied', { ...environment, NO_PROXY: '.example' });
          assert.equal(await code(digestBy('registry.example', { ...direct, retry: { attempts: 1 } })), 'Unreachable');
        } finally {
          for (const socket of sockets) socket.destroy();
          await new Promise((resolve) => proxy.close(resolve));
        }
      });
    });

    it('goes both ways: a registry that wants a client certificate gets that of certs.d, and only that registry does', async () => {
      const content = answerFrom({ v1: { bytes: image.manifestBytes } }, image.blobs);
      const tls = { cert: await readFile(file('server.crt')), key: await readFile(file('server.key')) };
      const clients: string[] = [];
      const storage = createServer({ ...tls, requestCert: true, rejectUnauthorized: false }, (request, response) => {
        clients.push(
          String(
            (request.socket as { getPeerCertificate?: () => { subject?: { CN?: string } } }).getPeerCertificate?.()
              .subject?.CN,
          ),
        );
        content(request.url ?? '', response);
      });
      const registry = createServer(
        { ...tls, requestCert: true, rejectUnauthorized: true, ca: await readFile(file('client.crt')) },
        (request, response) => {
          const { port } = storage.address() as AddressInfo;
          if (request.url?.includes(image.layer.digest) !== true) content(request.url ?? '', response);
          else response.writeHead(307, { location: `https://127.0.0.1:${port}${request.url}` }).end();
        },
      );
      const listen = async (server: Server): Promise<string> => {
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
        return `127.0.0.1:${(server.address() as AddressInfo).port}`;
      };
      const host = await listen(registry);
      await listen(storage);
      try {
        await install('known', host, {
          'ca.crt': 'server.crt',
          'client.cert': 'client.crt',
          'client.key': 'client.key',
        });
        assert.equal(await digestBy(host, await machine('known')), image.digest);
        assert.deepEqual(
          clients,
          ['undefined'],
          'the storage behind it is trusted by the same authority, but told nothing',
        );
        await install('unknown', host, { 'ca.crt': 'server.crt' });
        assert.match(
          await code(digestBy(host, { ...(await machine('unknown')), retry: { attempts: 1 } })),
          /Unreachable|UntrustedCertificate/,
        );
      } finally {
        for (const server of [registry, storage]) {
          server.closeAllConnections();
          await new Promise((resolve) => server.close(resolve));
        }
      }
    });
  });
}
