package io.flotilla.compat.rust;

import java.nio.charset.StandardCharsets;
import java.util.Base64;

/** Bytes and texts within one word: base64, or {@code -} for nothing. */
final class Texts {
    private Texts() {}

    static String base64(byte[] bytes) {
        return bytes == null || bytes.length == 0 ? "-" : Base64.getEncoder().encodeToString(bytes);
    }

    static String base64(String text) {
        return base64(text.getBytes(StandardCharsets.UTF_8));
    }

    static byte[] bytes(String word) {
        return word.equals("-") ? new byte[0] : Base64.getDecoder().decode(word);
    }

    static String text(String word) {
        return new String(bytes(word), StandardCharsets.UTF_8);
    }
}
