/** Everything that reads bytes from strangers. */
import { CONFIGURATION_TARGETS } from './configuration-targets.ts';
import { CONFINED_TARGETS } from './confined-targets.ts';
import { CREDENTIALS_TARGETS } from './credentials-targets.ts';
import { DOCUMENT_TARGETS } from './document-targets.ts';
import type { FuzzTarget } from './fuzz.ts';
import { OBJECT_TARGETS } from './object-targets.ts';
import { OPERATOR_TARGETS } from './operator-targets.ts';
import { PACKAGE_TARGETS } from './package-targets.ts';
import { POLICY_TARGETS } from './policy-targets.ts';
import { REFERENCE_TARGETS } from './reference-targets.ts';
import { SIGNATURE_TARGETS } from './signature-targets.ts';
import { TAR_TARGETS } from './tar-targets.ts';

export const FUZZ_TARGETS: readonly FuzzTarget[] = [
  ...REFERENCE_TARGETS,
  ...DOCUMENT_TARGETS,
  ...TAR_TARGETS,
  ...OBJECT_TARGETS,
  ...CONFIGURATION_TARGETS,
  ...CONFINED_TARGETS,
  ...CREDENTIALS_TARGETS,
  ...OPERATOR_TARGETS,
  ...PACKAGE_TARGETS,
  ...POLICY_TARGETS,
  ...SIGNATURE_TARGETS,
];
