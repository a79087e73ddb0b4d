package dev.xtask.fresh;

import java.io.IOException;
import java.lang.reflect.Field;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.nio.ByteBuffer;
import java.util.Collections;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Seeds the JDK's other generators anew after a restore: those behind ThreadLocalRandom, Math.random and
 * SplittableRandom. They are no secrets, but identifiers of traces are made of them.
 *
 * <p>A restore closes every TCP connection. So a thread waits for data on a connection that this process has with
 * itself: nothing ever comes, and when the connection is closed, the process has been restored. Until then it costs
 * nothing.
 */
final class Renewal implements Runnable {

    private Renewal() {}

    static void start() {
        Thread thread = new Thread(null, new Renewal(), "fresh-random", 0, false);
        thread.setDaemon(true);
        thread.setContextClassLoader(null);
        thread.start();
    }

    @Override
    public void run() {
        // What it needs is loaded by doing it once, so that after the restore it is done before the first request.
        renew();
        if (restored()) {
            renew();
        }
    }

    /** Waits for the restore; false where that cannot be waited for. */
    private static boolean restored() {
        InetAddress here = InetAddress.getLoopbackAddress();
        try (Socket inside = new Socket()) {
            Socket other;
            try (ServerSocket door = new ServerSocket(0, 1, here)) {
                inside.connect(door.getLocalSocketAddress());
                other = door.accept();
            }
            try (other) {
                if (other.getPort() != inside.getLocalPort()) {
                    throw new IOException("somebody else has come in");
                }
                inside.getInputStream().read();
            } catch (SocketException closed) {
                // As expected.
            }
            return true;
        } catch (IOException error) {
            say("ThreadLocalRandom and Math.random will not be seeded anew after a restore: " + error);
            return false;
        }
    }

    private static void renew() {
        attempt("ThreadLocalRandom", () -> counter(ThreadLocalRandom.class, "seeder").set(number()));
        attempt("ThreadLocalRandom of running threads", Renewal::threads);
        attempt("Random", () -> counter(Random.class, "seedUniquifier").set(number()));
        attempt("SplittableRandom", () -> counter(SplittableRandom.class, "defaultGen").set(number()));
        attempt("Math.random", () -> {
            Class<?> holder = Class.forName("java.lang.Math$RandomNumberGeneratorHolder");
            ((Random) field(holder, "randomNumberGenerator").get(null)).setSeed(number());
        });
        attempt("Collections.shuffle", () -> {
            Random random = (Random) field(Collections.class, "r").get(null);
            if (random != null) {
                random.setSeed(number());
            }
        });
    }

    /** What each thread goes on counting from. One that is counting at this very moment may keep the old number. */
    private static void threads() throws ReflectiveOperationException {
        Field seed = field(Thread.class, "threadLocalRandomSeed");
        ThreadGroup group = Thread.currentThread().getThreadGroup();
        while (group.getParent() != null) {
            group = group.getParent();
        }
        Thread[] threads = new Thread[group.activeCount() * 2 + 64];
        int count = group.enumerate(threads);
        for (int i = 0; i < count; i++) {
            seed.setLong(threads[i], number());
        }
    }

    private static AtomicLong counter(Class<?> of, String name) throws ReflectiveOperationException {
        return (AtomicLong) field(of, name).get(null);
    }

    private static Field field(Class<?> of, String name) throws ReflectiveOperationException {
        Field field = of.getDeclaredField(name);
        field.setAccessible(true);
        return field;
    }

    private static long number() {
        byte[] bytes = new byte[Long.BYTES];
        Kernel.fill(bytes);
        return ByteBuffer.wrap(bytes).getLong();
    }

    private interface Attempt {
        void run() throws ReflectiveOperationException;
    }

    /** The names of fields are the JDK's own business, and may change: what cannot be done is said, and left. */
    private static void attempt(String what, Attempt attempt) {
        try {
            attempt.run();
        } catch (ReflectiveOperationException | RuntimeException error) {
            say(what + " cannot be seeded anew, a restore repeats it: " + error);
        }
    }

    private static void say(String what) {
        System.err.println("fresh-random: " + what);
    }
}
