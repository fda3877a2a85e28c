/**
 * What `work` gives within so many milliseconds. undefined when it fails or takes longer; whoever comes too late but
 * does not fail is told of by `onLate`.
 */
export async function within<T>(
  ms: number,
  work: Promise<T>,
  onLate: () => void,
): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  let isLate = false;
  const patience = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => {
      isLate = true;
      resolve(undefined);
    }, ms);
  });
  const told = work.then(
    (value) => {
      if (isLate) onLate();
      return value;
    },
    () => undefined,
  );
  try {
    return await Promise.race([told, patience]);
  } finally {
    clearTimeout(timer);
  }
}
