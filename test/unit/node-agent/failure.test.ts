import assert from 'node:assert/strict';
import type { Fault } from '../../../api/index.ts';
import { ImportError, OstreeError } from '../../../ostree/index.ts';
import { RegistryError } from '../../../registry/index.ts';
import { failureOf } from '../../../node-agent/failure.ts';
import { AgentError } from '../../../node-agent/errors.ts';

describe('the reason of a failure', () => {
  const cases: readonly (readonly [string, Error, Fault?])[] = [
    ['DiskFull', new OstreeError('NoSpace', 'full.')],
    ['RepositoryReadOnly', new OstreeError('ReadOnly', 'ro.')],
    ['CorruptObject', new OstreeError('CorruptObject', 'bad.')],
    ['RegistryUnauthorized', new RegistryError('Unauthorized', 'who?'), 'Registry'],
    ['RegistryUnreachable', new RegistryError('Unreachable', 'gone.'), 'Registry'],
    ['ImageNotFound', new RegistryError('NotFound', 'none.'), 'Image'],
    ['WrongArchitecture', new RegistryError('NoPlatform', 'other.'), 'Image'],
    ['PullSecretInvalid', new AgentError('PullSecretInvalid', 'no.'), 'Registry'],
    ['InvalidLayer', new ImportError('InvalidLayer', 'not what was promised.'), 'Image'],
    ['DigestMismatch', new RegistryError('DigestMismatch', 'other bytes.'), 'Image'],
    ['NotOstreeImage', new ImportError('NotOstreeImage', 'nginx.'), 'Image'],
    ['DiskFull', Object.assign(new Error('write'), { code: 'ENOSPC' })],
    ['InternalError', Object.assign(new Error('boom'), { code: 'ERR_INVALID_ARG_TYPE' })],
    ['InternalError', new TypeError('boom')],
  ];
  for (const [reason, error, fault = 'Node'] of cases) {
    it(`is ${reason}, a fault of the ${fault}, for ${error.name} ${'code' in error ? String(error.code) : 'without a code'}`, () => {
      const failure = failureOf(error);
      assert.equal(failure.reason, reason);
      assert.match(failure.reason, /^[A-Z][A-Za-z0-9]*$/, 'as the API conventions want reasons');
      assert.equal(failure.message, error.message);
      assert.equal(failure.fault, fault);
    });
  }

  it('is never longer than the API takes', () => {
    assert.equal(failureOf(new Error('x'.repeat(10_000))).message.length, 4096);
    assert.equal(failureOf('a string').message, 'a string');
  });
});
