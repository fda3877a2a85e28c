export interface Results {
  passed: number;
  failed: number;
  skipped: number;
  failures: { title?: string; message?: string; stack?: string }[];
  /** The test that was running when the results end. */
  running?: string;
  ended: boolean;
  /** What the runner of the suite found wrong besides failed tests. */
  problem?: string;
}

export function readResults(file: string): Results;
