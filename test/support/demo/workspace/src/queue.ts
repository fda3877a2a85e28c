/**
 * A queue for background jobs. Jobs run one after another; a job that fails is tried again with a growing pause,
 * at most five times, and then set aside for a person to look at.
 */
export interface Job {
  id: string;
  run(): Promise<void>;
}

interface Entry {
  job: Job;
  attempts: number;
  /** Milliseconds since the epoch; the job is not started before. */
  notBefore: number;
}

const MOST_ATTEMPTS = 5;
const FIRST_PAUSE_MS = 500;

export class JobQueue {
  private readonly waiting: Entry[] = [];
  private readonly setAside: Entry[] = [];
  private running = false;

  constructor(private readonly now: () => number = Date.now) {}

  /** Adds a job. A job whose id is already waiting is ignored, so that callers need not check. */
  add(job: Job): boolean {
    if (this.waiting.some((entry) => entry.job.id === job.id)) return false;
    this.waiting.push({ job, attempts: 0, notBefore: 0 });
    return true;
  }

  /** Runs every job that is due. Two calls at the same time run nothing twice. */
  async drain(): Promise<void> {
    if (this.running) return;
    this.running = true;
    try {
      for (let entry = this.takeDue(); entry; entry = this.takeDue()) await this.attempt(entry);
    } finally {
      this.running = false;
    }
  }

  /** Jobs that failed too often, oldest first. */
  get failed(): Job[] {
    return this.setAside.map((entry) => entry.job);
  }

  private takeDue(): Entry | undefined {
    const index = this.waiting.findIndex((entry) => entry.notBefore <= this.now());
    return index === -1 ? undefined : this.waiting.splice(index, 1)[0];
  }

  private async attempt(entry: Entry): Promise<void> {
    entry.attempts++;
    try {
      await entry.job.run();
    } catch {
      if (entry.attempts >= MOST_ATTEMPTS) {
        this.setAside.push(entry);
        return;
      }
      entry.notBefore = this.now() + FIRST_PAUSE_MS * 2 ** (entry.attempts - 1);
      this.waiting.push(entry);
    }
  }
}
