package dev.xtask.fresh;

import java.security.NoSuchAlgorithmException;
import java.security.Provider;
import java.security.SecureRandom;
import java.security.SecureRandomParameters;
import java.util.List;

/**
 * The first provider of a JVM that is to be dumped: its random numbers are the kernel's at every call, so that no state
 * of a generator is in the dump, and no two restores of it give the same ones.
 */
public final class Fresh extends Provider {

    private static final long serialVersionUID = 1;

    /** The first is what {@code new SecureRandom()} takes, as without this provider. */
    private static final List<String> ALGORITHMS =
            List.of("NativePRNG", "NativePRNGNonBlocking", "NativePRNGBlocking", "SHA1PRNG", "DRBG");

    /** The JVM makes one, by its name in fresh.security. */
    public Fresh() {
        super("Fresh", "1", "Random numbers of the kernel, without a state that a restore brings back");
        for (String algorithm : ALGORITHMS) {
            putService(new Random(this, algorithm));
        }
        Renewal.start();
    }

    private static final class Random extends Service {

        Random(Provider provider, String algorithm) {
            super(provider, "SecureRandom", algorithm, Kernel.class.getName(), null, null);
        }

        @Override
        public Object newInstance(Object parameter) throws NoSuchAlgorithmException {
            boolean drbg = getAlgorithm().equals("DRBG");
            if (parameter != null && !drbg) {
                throw new NoSuchAlgorithmException(getAlgorithm() + " takes no parameters");
            }
            return getAlgorithm().equals("SHA1PRNG")
                    ? new Seeded()
                    : new Kernel((SecureRandomParameters) parameter);
        }
    }

    /**
     * SHA1PRNG has a second use: seeded before it is first asked, it gives the same numbers for the same seed, always.
     * Who does that wants those, and gets them from the JDK. But many only make sure that there is a seed, and take one of
     * {@code generateSeed}, which nobody could ask for twice: that stays with the kernel.
     */
    static final class Seeded extends Kernel {

        private static final long serialVersionUID = 1;

        private SecureRandom seeded;
        private boolean asked;

        Seeded() {
            super(null);
        }

        @Override
        protected synchronized void engineSetSeed(byte[] seed) {
            if (Kernel.gave(seed)) {
                seeded = null;
                asked = true;
            } else if (seeded == null && !asked) {
                try {
                    seeded = SecureRandom.getInstance("SHA1PRNG", "SUN");
                } catch (java.security.GeneralSecurityException error) {
                    throw new IllegalStateException(error);
                }
            }
            if (seeded != null) {
                seeded.setSeed(seed);
            }
        }

        @Override
        protected void engineNextBytes(byte[] bytes) {
            SecureRandom own;
            synchronized (this) {
                asked = true;
                own = seeded;
            }
            if (own == null) {
                super.engineNextBytes(bytes);
            } else {
                own.nextBytes(bytes);
            }
        }
    }
}
