/** What it is for signatures, or a policy about them, to be refused. */
import assert from 'node:assert/strict';
import { SignatureError, type SignatureErrorCode } from '../../../registry/signatures/index.ts';

/** Asserts that `act` throws a SignatureError with this code and such a message. */
export function refuses(act: () => unknown, message: RegExp, code: SignatureErrorCode = 'SignatureRefused'): void {
  assert.throws(act, (error) => {
    assert.ok(error instanceof SignatureError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}
