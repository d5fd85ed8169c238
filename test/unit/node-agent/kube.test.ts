import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectionFromKubeconfig, connectionInCluster } from '../../../node-agent/kube/connection.ts';
import { KubeClient } from '../../../node-agent/kube/kube-client.ts';
import { watchNodeOS } from '../../../node-agent/kube/node-os-watch.ts';

type Handler = (request: IncomingMessage, response: ServerResponse, url: URL) => void;

async function serve(handler: Handler): Promise<{ server: Server; url: string }> {
  const server = createServer((request, response) => {
    handler(request, response, new URL(request.url ?? '/', 'http://localhost'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return { server, url: `http://127.0.0.1:${address.port}` };
}

const object = (version: number, name = 'n') => ({
  metadata: { name, uid: 'u', resourceVersion: String(version) },
  spec: { imageName: 'i', nodeUID: 'u' },
});
const event = (type: string, value: unknown) => `${JSON.stringify({ type, object: value })}\n`;

describe('the watch of the own NodeOS', () => {
  let server: Server | undefined;
  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
  });

  /** Runs a watch against a script of answers until `count` objects were seen. */
  async function follow(handler: Handler, count: number) {
    const served = await serve(handler);
    server = served.server;
    await using client = new KubeClient({ server: served.url });
    const stop = new AbortController();
    const seen: (string | undefined)[] = [];
    const troubles: string[] = [];
    await watchNodeOS({
      client,
      nodeName: 'n',
      signal: stop.signal,
      random: () => 0,
      onObject: (value) => {
        seen.push(value?.metadata.resourceVersion);
        if (seen.length === count) stop.abort();
      },
      onTrouble: (error) => troubles.push(String(error)),
    });
    return { seen, troubles };
  }

  it('asks for the own object only, lists, then watches from there', async () => {
    const asked: string[] = [];
    const { seen, troubles } = await follow((_request, response, url) => {
      asked.push(`${url.searchParams.get('fieldSelector')} ${url.searchParams.get('resourceVersion')}`);
      if (url.searchParams.get('watch') !== 'true') {
        response.end(JSON.stringify({ metadata: { resourceVersion: '10' }, items: [object(9)] }));
        return;
      }
      response.write(event('MODIFIED', object(11)));
      response.write(event('BOOKMARK', object(20)));
      response.write(event('DELETED', object(21)));
    }, 3);
    assert.deepEqual(seen, ['9', '11', undefined]);
    assert.deepEqual(asked, ['metadata.name=n null', 'metadata.name=n 10']);
    assert.deepEqual(troubles, []);
  });

  it('goes on from the last version when a watch ends in peace', async () => {
    const versions: (string | null)[] = [];
    const { seen } = await follow((_request, response, url) => {
      if (url.searchParams.get('watch') !== 'true') {
        response.end(JSON.stringify({ metadata: { resourceVersion: '10' }, items: [] }));
        return;
      }
      versions.push(url.searchParams.get('resourceVersion'));
      response.end(event('MODIFIED', object(10 + versions.length)));
    }, 3);
    assert.deepEqual(seen, [undefined, '11', '12']);
    assert.deepEqual(versions, ['10', '11']);
  });

  it('lists again when its version has expired, without calling it trouble', async () => {
    let lists = 0;
    const { seen, troubles } = await follow((_request, response, url) => {
      if (url.searchParams.get('watch') !== 'true') {
        lists += 1;
        response.end(JSON.stringify({ metadata: { resourceVersion: '10' }, items: [object(lists)] }));
        return;
      }
      response.end(event('ERROR', { kind: 'Status', code: 410, message: 'too old resource version' }));
    }, 2);
    assert.deepEqual(seen, ['1', '2']);
    assert.deepEqual(troubles, []);
  });

  it('survives an API server that dies in the middle of a line, answers nonsense, or is not there', async () => {
    let requests = 0;
    const { seen, troubles } = await follow((request, response, url) => {
      requests += 1;
      if (requests === 2) {
        response.write('{"type":"MODI');
        setTimeout(() => request.socket.destroy(), 10);
      } else if (requests === 3) {
        response.statusCode = 503;
        response.end('<html>no backend</html>');
      } else if (requests === 4) {
        request.socket.destroy();
      } else if (url.searchParams.get('watch') !== 'true') {
        response.end(JSON.stringify({ metadata: { resourceVersion: '10' }, items: [object(requests)] }));
      }
    }, 2);
    assert.deepEqual(seen, ['1', '5']);
    assert.equal(troubles.length, 3);
    assert.match(troubles[1] ?? '', /503: <html>no backend<\/html>/);
  });
});

describe('calls to the Kubernetes API', () => {
  let server: Server | undefined;
  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
  });

  it('carry a fresh token and a merge patch, and report the words of the API server', async () => {
    const heard: unknown[] = [];
    const served = await serve((request, response) => {
      heard.push([request.method, request.headers.authorization, request.headers['content-type']]);
      response.statusCode = 403;
      response.end(JSON.stringify({ kind: 'Status', message: 'an agent may write only its own NodeOS' }));
    });
    server = served.server;
    let token = 0;
    await using client = new KubeClient({ server: served.url, token: async () => String((token += 1)) });
    const call = () => client.request({ method: 'PATCH', path: '/x', body: { status: {} } });
    await assert.rejects(call(), {
      code: 'KubernetesFailed',
      status: 403,
      message: 'The Kubernetes API answered PATCH /x with 403: an agent may write only its own NodeOS.',
    });
    await assert.rejects(call(), { status: 403 });
    assert.deepEqual(heard, [
      ['PATCH', 'Bearer 1', 'application/merge-patch+json'],
      ['PATCH', 'Bearer 2', 'application/merge-patch+json'],
    ]);
  });
});

describe('a kubeconfig', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-kubeconfig-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  async function read(user: object, cluster: object = {}) {
    const path = join(folder, 'config');
    const config = {
      'current-context': 'c',
      contexts: [{ name: 'c', context: { cluster: 'k', user: 'u' } }],
      clusters: [{ name: 'k', cluster: { server: 'https://127.0.0.1:6443/', ...cluster } }],
      users: [{ name: 'u', user }],
    };
    await writeFile(path, JSON.stringify(config));
    return connectionFromKubeconfig(path);
  }

  it('gives server, trust and credentials, with files beside it', async () => {
    await writeFile(join(folder, 'ca.crt'), 'CA');
    await writeFile(join(folder, 'token'), 'secret\n');
    const connection = await read({ tokenFile: 'token' }, { 'certificate-authority': 'ca.crt' });
    assert.equal(connection.server, 'https://127.0.0.1:6443');
    assert.equal(connection.certificateAuthority, 'CA');
    assert.equal(await connection.token?.(), 'secret');
  });

  it('may hold its certificates itself', async () => {
    const data = (text: string) => Buffer.from(text).toString('base64');
    const connection = await read(
      { 'client-certificate-data': data('CERT'), 'client-key-data': data('KEY') },
      { 'certificate-authority-data': data('CA') },
    );
    const { certificateAuthority, clientCertificate, clientKey } = connection;
    assert.deepEqual([certificateAuthority, clientCertificate, clientKey], ['CA', 'CERT', 'KEY']);
  });

  it('that needs a plugin, or is none, is refused in a sentence', async () => {
    await assert.rejects(read({ exec: { command: 'aws' } }), {
      code: 'KubeConfigInvalid',
      message: /credential plugin/,
    });
    await assert.rejects(connectionFromKubeconfig(join(folder, 'absent')), {
      message: /absent cannot be used: ENOENT/,
    });
    await assert.rejects(connectionInCluster({}), { message: /not in a pod; give --kubeconfig/ });
  });
});
