/**
 * How an image came about, as a statement that others can check: SLSA provenance v1 (https://slsa.dev/spec/v1.0/provenance)
 * in an in-toto statement v1. Of the same build it is the same to the byte.
 */
import { canonicalJson } from '../../registry/index.ts';
import { VERSION } from '../version.ts';

export const STATEMENT_MEDIA_TYPE = 'application/vnd.in-toto+json';
const PREDICATE_TYPE = 'https://slsa.dev/provenance/v1';
/** Says how `externalParameters` are to be read: as the members of a compose file. */
const BUILD_TYPE = 'https://treeline.dev/compose/v1';

export interface BuildFacts {
  /** `host/repository` of the image. */
  readonly name: string;
  /** `sha256:…` of its manifest. */
  readonly digest: string;
  /** What was asked for, as a compose file says it. */
  readonly parameters: Readonly<Record<string, unknown>>;
  /** Images that it was made of. */
  readonly dependencies: readonly Dependency[];
  /** Seconds since the epoch. */
  readonly timestamp: number;
}

export interface Dependency {
  readonly name: string;
  readonly digest: string;
}

/** The statement, as JSON. */
export function provenance({ name, digest, parameters, dependencies, timestamp }: BuildFacts): Buffer {
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name, digest: digestSet(digest) }],
    predicateType: PREDICATE_TYPE,
    predicate: {
      buildDefinition: {
        buildType: BUILD_TYPE,
        externalParameters: parameters,
        internalParameters: { timestamp },
        resolvedDependencies: dependencies.map((one) => ({ uri: one.name, digest: digestSet(one.digest) })),
      },
      runDetails: {
        builder: { id: 'https://treeline.dev/compose', version: { treeline: VERSION } },
        metadata: { startedOn: new Date(timestamp * 1000).toISOString().replace('.000Z', 'Z') },
      },
    },
  };
  // Through JSON, so that what is absent and what is undefined are the same.
  return Buffer.from(canonicalJson(JSON.parse(JSON.stringify(statement))));
}

function digestSet(digest: string): Readonly<Record<string, string>> {
  const [algorithm = '', hex = ''] = digest.split(':');
  return { [algorithm]: hex };
}
