"""Videos that are not ready yet, waited for by commands and by opens below .wait/."""
