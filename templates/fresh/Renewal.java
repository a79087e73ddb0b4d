package dev.xtask.fresh;

import java.io.IOException;
import java.lang.reflect.Field;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
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
 *
 * <p>No request waits for this thread, so it is a race, and all is done to win it: whatever it needs has been looked up,
 * loaded and done once before the dump.
 */
final class Renewal implements Runnable {

    private final List<Attempt> renewals = new ArrayList<>();
    // What the next seeds are made of: to ask the kernel for each would take longer.
    private final ByteBuffer numbers = ByteBuffer.allocate(2048);

    private Renewal() {}

    static void start() {
        Thread thread = new Thread(null, new Renewal(), "fresh-random", 0, false);
        thread.setDaemon(true);
        thread.setContextClassLoader(null);
        thread.start();
    }

    @Override
    public void run() {
        attempt("ThreadLocalRandom", () -> counter(ThreadLocalRandom.class, "seeder"));
        attempt("SplittableRandom", () -> counter(SplittableRandom.class, "defaultGen"));
        attempt("Random", () -> counter(Random.class, "seedUniquifier"));
        attempt("Math.random", () -> {
            Class<?> holder = Class.forName("java.lang.Math$RandomNumberGeneratorHolder");
            Random random = (Random) field(holder, "randomNumberGenerator").get(null);
            renewals.add(() -> random.setSeed(number()));
        });
        attempt("Collections.shuffle", () -> {
            Field field = field(Collections.class, "r");
            renewals.add(() -> {
                Random random = (Random) field.get(null);
                if (random != null) {
                    random.setSeed(number());
                }
            });
        });
        attempt("ThreadLocalRandom of running threads", this::threads);
        try {
            renewAtTheEnd(true);
            renewAtTheEnd(false);
        } catch (IOException error) {
            say("ThreadLocalRandom and Math.random will not be seeded anew after a restore: " + error);
        }
    }

    /** Waits for the end of a connection, and renews; to try it, the connection is ended at once. */
    private void renewAtTheEnd(boolean tried) throws IOException {
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
                if (tried) {
                    // Then it is reset, and the read fails, as after a restore.
                    other.setSoLinger(true, 0);
                    other.close();
                }
                try {
                    inside.getInputStream().read();
                } catch (SocketException closed) {
                    // As expected.
                }
                // Before anything is closed: that takes longer.
                numbers.position(numbers.limit());
                for (Attempt renewal : renewals) {
                    attempt("a generator", renewal);
                }
            }
        }
    }

    private void counter(Class<?> of, String name) throws ReflectiveOperationException {
        AtomicLong counter = (AtomicLong) field(of, name).get(null);
        renewals.add(() -> counter.set(number()));
    }

    /** What each thread goes on counting from. One that is counting at this very moment may keep the old number. */
    private void threads() throws ReflectiveOperationException {
        Field seed = field(Thread.class, "threadLocalRandomSeed");
        ThreadGroup group = Thread.currentThread().getThreadGroup();
        while (group.getParent() != null) {
            group = group.getParent();
        }
        ThreadGroup all = group;
        renewals.add(() -> {
            Thread[] threads = new Thread[all.activeCount() * 2 + 64];
            int count = all.enumerate(threads);
            for (int i = 0; i < count; i++) {
                seed.setLong(threads[i], number());
            }
        });
    }

    private static Field field(Class<?> of, String name) throws ReflectiveOperationException {
        Field field = of.getDeclaredField(name);
        field.setAccessible(true);
        return field;
    }

    private long number() {
        if (!numbers.hasRemaining()) {
            Kernel.fill(numbers.array());
            numbers.clear();
        }
        return numbers.getLong();
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
