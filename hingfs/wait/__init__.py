"""Videos that are not ready yet are waited for: by commands, and by opens below .wait/."""
