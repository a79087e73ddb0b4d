package dev.xtask.fresh;

import java.io.FileInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.SecureRandomParameters;
import java.security.SecureRandomSpi;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/** Random numbers of the kernel. It keeps none of them, and mixes them with nothing. */
class Kernel extends SecureRandomSpi {

    private static final long serialVersionUID = 1;

    // Open from the start, as the JDK's own generators have it: a dumped process has it again.
    private static final FileInputStream SOURCE = open();

    // The newest seeds that it gave, by digests, which tell nobody what they were.
    private static final Map<ByteBuffer, Boolean> GIVEN = Collections.synchronizedMap(new LinkedHashMap<>() {
        private static final long serialVersionUID = 1;

        @Override
        protected boolean removeEldestEntry(Map.Entry<ByteBuffer, Boolean> eldest) {
            return size() > 1000;
        }
    });

    private final transient SecureRandomParameters parameters;

    /** The parameters, of a DRBG, are only told again: the kernel's numbers are as strong as any it may ask for. */
    Kernel(SecureRandomParameters parameters) {
        this.parameters = parameters;
    }

    private static FileInputStream open() {
        try {
            return new FileInputStream("/dev/urandom");
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** Fills {@code bytes} with random numbers. */
    static void fill(byte[] bytes) {
        try {
            for (int done = 0; done < bytes.length; ) {
                int read = SOURCE.read(bytes, done, bytes.length - done);
                if (read <= 0) {
                    throw new IOException("/dev/urandom has ended");
                }
                done += read;
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    @Override
    protected void engineNextBytes(byte[] bytes) {
        fill(bytes);
    }

    @Override
    protected void engineNextBytes(byte[] bytes, SecureRandomParameters asked) {
        engineNextBytes(bytes);
    }

    @Override
    protected byte[] engineGenerateSeed(int count) {
        byte[] seed = new byte[count];
        fill(seed);
        GIVEN.put(digest(seed), true);
        return seed;
    }

    /**
     * Whether this is a seed that {@link #engineGenerateSeed} gave. Of fewer than eight bytes that cannot be told from one
     * that somebody has chosen.
     */
    static boolean gave(byte[] seed) {
        return seed.length >= Long.BYTES && GIVEN.containsKey(digest(seed));
    }

    private static ByteBuffer digest(byte[] seed) {
        try {
            return ByteBuffer.wrap(MessageDigest.getInstance("SHA-256").digest(seed));
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException(error);
        }
    }

    /** A seed adds to what the kernel gives, never replaces it: there is nothing to add to. */
    @Override
    protected void engineSetSeed(byte[] seed) {}

    @Override
    protected void engineReseed(SecureRandomParameters asked) {}

    @Override
    protected SecureRandomParameters engineGetParameters() {
        return parameters;
    }

    @Override
    public String toString() {
        return "the kernel's";
    }
}
